"""API keys over HTTP: which are accepted, and how each invalid one is rejected."""

import asyncio
import hmac
from base64 import urlsafe_b64encode
from secrets import token_urlsafe
from typing import Any

import pytest

from db.tenancy.api_key import KeySigner
from tests.builders import REGISTER, product_fields
from tests.graph_api.auth.issuer import token
from tests.security.service_harness import CACHE_SECONDS, LIST, Client, Owner, Service, rejection

pytestmark = pytest.mark.api

VIEWER = "{ viewer { tenant actor scopes } }"


def forged(tenant_id: int = 1) -> str:
    """Build a key that another service signed."""
    return KeySigner(b"another secret").generate(tenant_id)[1]


def unregistered(owner: Owner) -> str:
    """Build a correctly signed key that is in no table."""
    return owner.signer.generate(1)[1]


async def test_a_key_is_accepted_in_either_header(client: Client, owner: Owner) -> None:
    key = await owner.key("read")
    for headers in ({"X-API-Key": key}, {"Authorization": f"Bearer {key}"}, {"Authorization": f"bearer  {key}"}):
        answer = await client(headers=headers)
        # other tests may have written products
        assert (answer.status, answer.data.keys()) == (200, {"products"}), headers


async def test_an_expired_key_is_rejected_with_the_instant(client: Client, owner: Owner) -> None:
    answer = await client(key=await owner.expired_key())
    assert rejection(answer) == (401, "UNAUTHENTICATED")
    assert " expired at 20" in answer.error["message"]


async def test_a_revoked_key_is_rejected_once_the_cache_expires(client: Client, owner: Owner) -> None:
    key = await owner.key("read")
    assert (await client(key=key)).status == 200
    await owner.revoke(key)
    await asyncio.sleep(CACHE_SECONDS)
    answer = await client(key=key)
    assert rejection(answer) == (401, "UNAUTHENTICATED")
    assert " was revoked at 20" in answer.error["message"]


def broken(key: str) -> dict[str, str]:
    """Return values that are not keys of this service, by what is wrong with them."""
    last = "A" if key[-1] != "A" else "B"
    mark, number, name, secret = key.split("_", 3)
    return {
        "empty": "",
        "arbitrary text": "open sesame",
        "a key without its secret": f"{mark}_{number}_{name}",
        "a truncated key": key[:-1],
        "a key with one more character": key + "A",
        "its last character changed": key[:-1] + last,
        "a character of its secret changed": f"{mark}_{number}_{name}_{'A' if secret[0] != 'A' else 'B'}{secret[1:]}",
        "its name changed": f"{mark}_{number}_a{name[1:] if name[0] != 'a' else 'b' + name[1:]}_{secret}",
        "its tenant changed": f"{mark}_2_{name}_{secret}",
        "a character outside ASCII": key[:-1] + "é",
        "a key of another service": forged(),
        "a guessed bootstrap key": f"hw_1_bootstrap_{'0' * 64}",
        "a guessed bootstrap key of another tenant": f"hw_2_bootstrap_{'0' * 64}",
        "two keys": f"{key}, {key}",
    }


@pytest.mark.parametrize("kind", broken(forged()))
async def test_a_value_that_is_not_a_key_is_rejected_in_either_header(client: Client, owner: Owner, kind: str) -> None:
    value = broken(await owner.key("read", "write", "admin"))[kind].encode("latin-1")
    for headers in ({b"X-API-Key": value}, {b"Authorization": (b"Bearer " + value).strip()}):
        answer = await client(headers=headers)
        assert rejection(answer) == (401, "UNAUTHENTICATED"), headers
        assert answer.headers["connection"] == "close"


async def test_an_unregistered_key_is_rejected_like_a_forged_one(client: Client, owner: Owner) -> None:
    answers = [await client(key=it) for it in (unregistered(owner), forged())]
    assert [rejection(it) for it in answers] == [(401, "UNAUTHENTICATED")] * 2
    assert answers[0].error == answers[1].error


@pytest.mark.parametrize("value", ["", "Bearer", "Basic YW5uOmh1c2g=", "Token {key}", "{key}", "Negotiate x"])
async def test_a_scheme_other_than_bearer_is_rejected(client: Client, owner: Owner, value: str) -> None:
    answer = await client(headers={"Authorization": value.format(key=await owner.key("read"))})
    assert rejection(answer) == (401, "UNAUTHENTICATED")
    assert "Bearer" in answer.error["message"]


async def test_x_api_key_takes_precedence_over_authorization_valid_or_not(client: Client, owner: Owner) -> None:
    name = await owner.tenant()
    key, valid_token = await owner.key("read"), f"Bearer {token(tenant=name)}"
    assert (await client(headers={"Authorization": valid_token})).status == 200
    for invalid in (forged(), "", "x"):
        for valid in (valid_token, f"Bearer {key}"):
            answer = await client(headers={"X-API-Key": invalid, "Authorization": valid})
            assert rejection(answer) == (401, "UNAUTHENTICATED"), (invalid, valid)
    for authorization in (valid_token, "Bearer nonsense"):
        answer = await client(VIEWER, headers={"X-API-Key": key, "Authorization": authorization})
        assert answer.data["viewer"]["tenant"] == "default", authorization


async def test_an_invalid_credential_is_rejected_even_where_none_is_needed(client: Client) -> None:
    for query in ("{ __typename }", "{ __schema { queryType { name } } }"):
        assert (await client(query)).status == 200
        for headers in ({"X-API-Key": forged()}, {"Authorization": "Bearer x"}, {"Authorization": "Basic eDp5"}):
            assert rejection(await client(query, headers=headers)) == (401, "UNAUTHENTICATED")


async def test_a_key_in_the_query_string_or_in_a_cookie_is_ignored(client: Client, owner: Owner) -> None:
    key = await owner.key("read")
    for name in ("key", "api_key", "X-API-Key", "access_token"):
        for response in (
            await client.http.post("/graphql", params={name: key}, json={"query": LIST}),
            await client.http.post("/graphql", headers={"Cookie": f"{name}={key}"}, json={"query": LIST}),
        ):
            assert response.status_code == 401, name
            assert response.json()["errors"][0]["message"] == (
                "Query.products requires authentication. Send an API key as X-API-Key, or a key or token as"
                " Authorization: Bearer."
            )


async def test_a_key_is_rejected_in_any_tenant_but_its_own(client: Client, owner: Owner) -> None:
    name = await owner.tenant()
    key = await owner.key("read", "write", "admin")
    for requested in (name, "nobody", "", "DEFAULT"):
        answer = await client(key=key, headers={"X-Headwater-Tenant": requested})
        assert rejection(answer) == (403, "FORBIDDEN"), requested
        # the message does not reveal whether the tenant exists
        assert answer.error["message"] == (
            f"These credentials belong to the tenant 'default', but X-Headwater-Tenant names {requested!r}."
            " Only an operator key can act in another tenant."
        )
    assert (await client(key=key, headers={"X-Headwater-Tenant": "default"})).status == 200


async def test_requests_of_a_suspended_tenant_get_the_reason_until_it_is_resumed(client: Client, owner: Owner) -> None:
    name = await owner.tenant()
    key, authorization = await owner.key("read", of=name), {"Authorization": f"Bearer {token(tenant=name)}"}
    assert (await client(key=key)).status == (await client(headers=authorization)).status == 200
    await owner.suspend(name, "the bill is open")
    await asyncio.sleep(CACHE_SECONDS)
    for answer in (await client(key=key), await client(headers=authorization), await client.load(key)):
        assert rejection(answer) == (403, "FORBIDDEN")
        assert answer.error["message"] == f"The tenant '{name}' is suspended: the bill is open"
    await owner.suspend(name, None)
    await asyncio.sleep(CACHE_SECONDS)
    assert (await client(key=key)).status == (await client(headers=authorization)).status == 200


async def test_a_rejected_request_writes_nothing(client: Client, owner: Owner) -> None:
    key = await owner.key("read", "write")
    await owner.revoke(key)
    for headers in ({"X-API-Key": key}, {"X-API-Key": forged()}, {"Authorization": "Bearer x"}, {}):
        assert rejection(await client(REGISTER, headers=headers, input=product_fields("never")))[0] == 401
    reader = await owner.key("read")
    assert (await client('{ product(name: "never") { uid } }', key=reader)).data == {"product": None}


async def test_the_database_stores_a_keyed_digest_of_a_key_and_nothing_else_of_its_secret(owner: Owner, service: Service) -> None:
    key = await owner.key("read")
    secret = key.split("_", 3)[3]
    async with owner.connection() as connection:
        row = await connection.fetchrow("SELECT * FROM api_key WHERE name = $1", key.split("_")[2])
        rows: list[Any] = await connection.fetch(
            "SELECT k::text AS row_text FROM api_key k UNION ALL SELECT a::text FROM audit a"
        )
    assert row["digest"] == hmac.digest(owner.signer.secret, key.encode(), "sha256")
    texts = [it["row_text"] for it in rows]
    assert not any(secret in it or urlsafe_b64encode(secret.encode()).decode() in it for it in texts)
    # 256 random bits, and the signature of the service
    assert len(secret) == len(token_urlsafe(32)) + 12

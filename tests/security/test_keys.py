"""Keys: which are let in, and what each other one is answered. What does not hold is refused, and never passed over."""

import asyncio
import hmac
from base64 import urlsafe_b64encode
from secrets import token_urlsafe
from typing import Any

import pytest

from db.tenancy.api_key import KeySigner
from tests.builders import REGISTER, product_fields
from tests.graph_api.auth.issuer import token
from tests.security.service_harness import BELIEVED, LIST, Client, Owner, Service, refused

pytestmark = pytest.mark.api

WHO = "{ viewer { tenant actor scopes } }"


def forged(tenant_id: int = 1) -> str:
    """A key that another service made."""
    return KeySigner(b"another secret").generate(tenant_id)[1]


def never_made(owner: Owner) -> str:
    """A key signed correctly that is in no table."""
    return owner.signer.generate(1)[1]


async def test_a_key_is_let_in_by_either_header(ask: Client, owner: Owner) -> None:
    key = await owner.key("read")
    for headers in ({"X-API-Key": key}, {"Authorization": f"Bearer {key}"}, {"Authorization": f"bearer  {key}"}):
        answer = await ask(headers=headers)
        # what others have written meanwhile is there, too
        assert (answer.status, answer.data.keys()) == (200, {"products"}), headers


async def test_an_expired_key_is_refused_and_told_since_when(ask: Client, owner: Owner) -> None:
    answer = await ask(key=await owner.expired_key())
    assert refused(answer) == (401, "UNAUTHENTICATED")
    assert " expired at 20" in answer.error["message"]


async def test_a_revoked_key_is_refused_as_soon_as_what_was_looked_up_is_no_longer_believed(ask: Client, owner: Owner) -> None:
    key = await owner.key("read")
    assert (await ask(key=key)).status == 200
    await owner.revoke(key)
    await asyncio.sleep(BELIEVED)
    answer = await ask(key=key)
    assert refused(answer) == (401, "UNAUTHENTICATED")
    assert " was revoked at 20" in answer.error["message"]


def broken(key: str) -> dict[str, str]:
    """What somebody might try instead of a key."""
    last = "A" if key[-1] != "A" else "B"
    mark, number, name, secret = key.split("_", 3)
    return {
        "nothing": "",
        "no key": "open sesame",
        "a key without its secret": f"{mark}_{number}_{name}",
        "a truncated key": key[:-1],
        "a key that goes on": key + "A",
        "its last character changed": key[:-1] + last,
        "a character of its secret changed": f"{mark}_{number}_{name}_{'A' if secret[0] != 'A' else 'B'}{secret[1:]}",
        "its name changed": f"{mark}_{number}_a{name[1:] if name[0] != 'a' else 'b' + name[1:]}_{secret}",
        "its tenant changed": f"{mark}_2_{name}_{secret}",
        "letters of another script": key[:-1] + "é",
        "a key of another service": forged(),
        "a made-up key of a tenant": f"hw_1_bootstrap_{'0' * 64}",
        "a made-up key of another tenant": f"hw_2_bootstrap_{'0' * 64}",
        "two keys": f"{key}, {key}",
    }


@pytest.mark.parametrize("kind", broken(forged()))
async def test_what_is_no_key_of_this_service_is_refused_by_either_header(ask: Client, owner: Owner, kind: str) -> None:
    sent = broken(await owner.key("read", "write", "admin"))[kind].encode("latin-1")
    for headers in ({b"X-API-Key": sent}, {b"Authorization": (b"Bearer " + sent).strip()}):
        answer = await ask(headers=headers)
        assert refused(answer) == (401, "UNAUTHENTICATED"), headers
        assert answer.headers["connection"] == "close"


async def test_one_that_was_never_made_is_refused_like_one_that_was_made_elsewhere(ask: Client, owner: Owner) -> None:
    answers = [await ask(key=it) for it in (never_made(owner), forged())]
    assert [refused(it) for it in answers] == [(401, "UNAUTHENTICATED")] * 2
    assert answers[0].error == answers[1].error


@pytest.mark.parametrize("sent", ["", "Bearer", "Basic YW5uOmh1c2g=", "Token {key}", "{key}", "Negotiate x"])
async def test_another_scheme_than_bearer_is_refused(ask: Client, owner: Owner, sent: str) -> None:
    answer = await ask(headers={"Authorization": sent.format(key=await owner.key("read"))})
    assert refused(answer) == (401, "UNAUTHENTICATED")
    assert "Bearer" in answer.error["message"]


async def test_a_bad_key_beside_a_good_token_or_key_is_refused_and_a_good_key_counts_alone(ask: Client, owner: Owner) -> None:
    name = await owner.tenant()
    key, believed = await owner.key("read"), f"Bearer {token(tenant=name)}"
    assert (await ask(headers={"Authorization": believed})).status == 200
    for bad in (forged(), "", "x"):
        for good in (believed, f"Bearer {key}"):
            answer = await ask(headers={"X-API-Key": bad, "Authorization": good})
            assert refused(answer) == (401, "UNAUTHENTICATED"), (bad, good)
    for beside in (believed, "Bearer nonsense"):
        answer = await ask(WHO, headers={"X-API-Key": key, "Authorization": beside})
        assert answer.data["viewer"]["tenant"] == "default", beside


async def test_a_bad_credential_is_refused_even_where_nobody_needs_one(ask: Client) -> None:
    for query in ("{ __typename }", "{ __schema { queryType { name } } }"):
        assert (await ask(query)).status == 200
        for headers in ({"X-API-Key": forged()}, {"Authorization": "Bearer x"}, {"Authorization": "Basic eDp5"}):
            assert refused(await ask(query, headers=headers)) == (401, "UNAUTHENTICATED")


async def test_a_key_in_the_address_or_in_a_cookie_is_not_looked_at(ask: Client, owner: Owner) -> None:
    key = await owner.key("read")
    for name in ("key", "api_key", "X-API-Key", "access_token"):
        for response in (
            await ask.http.post("/graphql", params={name: key}, json={"query": LIST}),
            await ask.http.post("/graphql", headers={"Cookie": f"{name}={key}"}, json={"query": LIST}),
        ):
            assert response.status_code == 401, name
            assert response.json()["errors"][0]["message"] == (
                "Query.products requires authentication. Send an API key as X-API-Key, or a key or token as"
                " Authorization: Bearer."
            )


async def test_a_key_of_one_tenant_is_none_of_another(ask: Client, owner: Owner) -> None:
    name = await owner.tenant()
    key = await owner.key("read", "write", "admin")
    for wanted in (name, "nobody", "", "DEFAULT"):
        answer = await ask(key=key, headers={"X-Headwater-Tenant": wanted})
        assert refused(answer) == (403, "FORBIDDEN"), wanted
        # whether there is such a tenant is nobody's business
        assert answer.error["message"] == (
            f"These credentials belong to the tenant 'default', but X-Headwater-Tenant names {wanted!r}."
            " Only an operator key can act in another tenant."
        )
    assert (await ask(key=key, headers={"X-Headwater-Tenant": "default"})).status == 200


async def test_a_suspended_tenant_is_told_why_and_let_in_again_soon_after_it_is_resumed(ask: Client, owner: Owner) -> None:
    name = await owner.tenant()
    key, believed = await owner.key("read", of=name), {"Authorization": f"Bearer {token(tenant=name)}"}
    assert (await ask(key=key)).status == (await ask(headers=believed)).status == 200
    await owner.suspend(name, "the bill is open")
    await asyncio.sleep(BELIEVED)
    for answer in (await ask(key=key), await ask(headers=believed), await ask.load(key)):
        assert refused(answer) == (403, "FORBIDDEN")
        assert answer.error["message"] == f"The tenant '{name}' is suspended: the bill is open"
    await owner.suspend(name, None)
    await asyncio.sleep(BELIEVED)
    assert (await ask(key=key)).status == (await ask(headers=believed)).status == 200


async def test_what_is_refused_writes_nothing(ask: Client, owner: Owner) -> None:
    key = await owner.key("read", "write")
    await owner.revoke(key)
    for headers in ({"X-API-Key": key}, {"X-API-Key": forged()}, {"Authorization": "Bearer x"}, {}):
        assert refused(await ask(REGISTER, headers=headers, input=product_fields("never")))[0] == 401
    reader = await owner.key("read")
    assert (await ask('{ product(name: "never") { uid } }', key=reader)).data == {"product": None}


async def test_only_a_digest_that_takes_a_secret_to_make_is_kept_of_a_key(owner: Owner, service: Service) -> None:
    key = await owner.key("read")
    secret = key.split("_", 3)[3]
    async with owner.connection() as connection:
        row = await connection.fetchrow("SELECT * FROM api_key WHERE name = $1", key.split("_")[2])
        everything: list[Any] = await connection.fetch("SELECT k::text FROM api_key k UNION ALL SELECT a::text FROM audit a")
    assert row["digest"] == hmac.digest(owner.signer.secret, key.encode(), "sha256")
    assert not any(secret in it[0] or urlsafe_b64encode(secret.encode()).decode() in it[0] for it in everything)
    # 256 random bits, and what shows that the service made it
    assert len(secret) == len(token_urlsafe(32)) + 12

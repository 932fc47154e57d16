"""Request ids, traces, audit and log of a request. None of them contains a credential."""

import hashlib
import json
import re
from typing import Any

import pytest

from tests.builders import REGISTER, UPDATE, product_fields
from tests.graph_api.auth.issuer import token
from tests.processes import wait_until
from tests.security.service_harness import LIST, Client, Owner, Service, key_prefix, rejection
from tests.security.test_keys import broken, forged
from tests.security.test_tokens import INVALID, bearer

pytestmark = pytest.mark.api

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACKED = {"X-Debug-Resource-Tracking": "true"}
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


async def test_a_request_id_is_returned_in_header_and_body_of_every_response(client: Client, owner: Owner) -> None:
    key = await owner.key("read")
    for sent_key in (key, "nonsense", None):
        answer = await client(key=sent_key, headers={"X-Request-ID": "job-7:step.2"})
        assert answer.headers["x-request-id"] == answer.body["extensions"]["requestId"] == "job-7:step.2"


@pytest.mark.parametrize("value", ["", "a b", "x" * 129, 'a"}{', "a,b", "<script>", "../../etc", "é", "%0d%0aX-Evil:1"])
async def test_an_invalid_request_id_is_replaced(client: Client, owner: Owner, value: str) -> None:
    answer = await client(key=await owner.key("read"), headers={b"X-Request-ID": value.encode("latin-1")})
    request_id = answer.headers["x-request-id"]
    assert re.fullmatch(UUID, request_id)
    assert answer.body["extensions"]["requestId"] == request_id


async def test_a_valid_traceparent_is_continued_and_an_invalid_one_is_replaced(client: Client) -> None:
    answer = await client("{ __typename }", headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})
    assert re.fullmatch(rf"00-{TRACE}-(?!00f067aa0ba902b7)[0-9a-f]{{16}}-01", answer.headers["traceparent"])
    for value in (
        "",
        "x",
        f"00-{TRACE}-00f067aa0ba902b7",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"ff-{TRACE}-00f067aa0ba902b7-01",
    ):
        traceparent = (await client("{ __typename }", headers={"traceparent": value})).headers["traceparent"]
        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", traceparent), value
        assert TRACE not in traceparent


async def test_the_audit_log_has_actor_credential_outcome_and_request_id(client: Client, owner: Owner) -> None:
    name = await owner.tenant()
    key = await owner.key("read", "write", of=name)
    for number in (1, 2):
        await client(REGISTER, key, {"X-Request-ID": f"write-{number}"}, input=product_fields(owner=f"o{number}"))
    await client(key=key)
    prefix = key_prefix(key)
    rows = [(it.actor, it.credential, it.operator, it.outcome, it.request_id) for it in await owner.audit_rows(name, 2)]
    assert rows == [("test", prefix, False, "CONFLICT", "write-2"), ("test", prefix, False, "KEPT", "write-1")]


async def test_changes_and_versions_name_the_label_of_a_key_or_the_subject_of_a_token_and_the_credential(
    client: Client, owner: Owner
) -> None:
    name = await owner.tenant()
    key = await owner.key("read", "write", of=name)
    await client(REGISTER, key, input=product_fields(owner="o1", at="2026-01-01"))
    by_token = {"Authorization": f"Bearer {token(tenant=name, sub='bob', scope='read write')}"}
    await client(UPDATE, headers=by_token, input={"product": {"name": "orders"}, "owner": "o2"})
    query = """{
      changes(from: "2026-01-01", to: "2999-01-01") { nodes { actor credential } }
      products { nodes { history { nodes { actor credential } } } }
    }"""
    answer = (await client(query, key)).data
    authors = [{"actor": "test", "credential": key_prefix(key)}, {"actor": "bob", "credential": "token"}]
    assert answer["changes"]["nodes"] == authors
    assert answer["products"]["nodes"][0]["history"]["nodes"] == authors


async def test_an_administrator_can_request_resource_statistics(client: Client, owner: Owner) -> None:
    key = await owner.key("read", "admin")
    answer = await client(LIST, key, TRACKED)
    resources = answer.body["extensions"]["resources"]
    assert resources.keys() == {"statements", "rows", "databaseMilliseconds", "totalMilliseconds"}
    # a list alone is one statement, on a session that has the tenant set
    assert resources["statements"] == 1
    assert 0 < resources["databaseMilliseconds"] <= resources["totalMilliseconds"] < 5_000
    for value in ("false", "", "yes", "1"):
        assert "resources" not in (await client(LIST, key, {"X-Debug-Resource-Tracking": value})).body["extensions"]


async def test_resource_statistics_need_the_scope_admin(client: Client, owner: Owner) -> None:
    by_token = bearer(token(tenant=await owner.tenant(), scope="read write"))
    for headers in ({"X-API-Key": await owner.key("read", "write")}, by_token):
        answer = await client(LIST, headers={**headers, **TRACKED})
        assert rejection(answer) == (403, "FORBIDDEN")
        assert answer.error["message"] == (
            "Resource tracking requires the scope admin, which the credentials of this request do not have."
        )


CREATE = 'mutation { createKey(input: { label: "x", scopes: ["read"] }) { secret } }'


async def test_neither_the_log_nor_an_error_contains_a_credential(client: Client, owner: Owner, service: Service) -> None:
    name = await owner.tenant()
    key, revoked, expired = await owner.key("read", "write", "admin"), await owner.key("read"), await owner.expired_key()
    suspended = await owner.key("read", of=name)
    await owner.revoke(revoked)
    await owner.suspend(name, "the bill is open")
    created = (await client(CREATE, key)).data["createKey"]["secret"]
    keys = [key, revoked, expired, suspended, created, forged(), f"hw_1_bootstrap_{'s' * 64}", *broken(key).values()]
    tokens = [token(tenant="default"), token(tenant=name), *(build(tenant=name) for build, _ in INVALID.values())]
    answers: list[Any] = []
    credentials: list[dict[Any, Any]] = [*({b"X-API-Key": it.encode("latin-1")} for it in keys), *map(bearer, tokens)]
    for headers in credentials:
        queries = (LIST, "{ nonsense }", "mutation { deleteProduct(input: {}) { uid } }")
        answers += [(await client(query, headers=headers)).body for query in queries]
        response = await client.http.post(
            "/api/v1/ingest?on_error=x", content=b"{}\n", headers={**headers, "Content-Type": "text/x"}
        )
        answers.append(response.json())
    # credentials in positions where they do not belong
    parameters = {"key": key, "access_token": tokens[0]}
    await client.http.post("/graphql", params=parameters, json={"query": LIST}, headers={"Cookie": key})
    last = {"X-Headwater-Tenant": "x", "X-API-Key": key, "X-Request-ID": "last-one"}
    answers.append((await client(LIST, headers=last)).body)

    async def is_last_request_logged() -> bool:
        # the line is written after the response was sent
        return '"last-one"' in service.log()

    await wait_until(is_last_request_logged)
    log = service.log()
    secrets = [it.removeprefix(key_prefix(it)).strip("_") for it in keys if it.startswith("hw_") and it.count("_") > 2]
    secrets += [part for it in tokens for part in it.split(".")[1:] if len(part) > 10]
    assert all(len(secret) > 10 for secret in secrets)
    for secret in secrets:
        assert secret[:40] not in log
        assert secret[:40] not in json.dumps(answers)
    async with owner.connection() as connection:
        digests = [it["digest"] for it in await connection.fetch("SELECT digest FROM api_key")]
    for digest in digests:
        assert digest.hex() not in log
    assert "a secret of these tests" not in log
    assert hashlib.sha256(key.encode()).hexdigest() not in log

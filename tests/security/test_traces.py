"""What is told of a request: to whoever asked, to the audit, to the log. Never what anybody came in with."""

import hashlib
import json
import re
from typing import Any

import pytest

from tests.builders import REGISTER, product_fields
from tests.graph_api.auth.issuer import token
from tests.graph_api.commands.test_process import awaited
from tests.security.service_harness import LIST, Client, Owner, Service, prefix_of, refused
from tests.security.test_keys import broken, forged
from tests.security.test_tokens import BAD, bearing

pytestmark = pytest.mark.api

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACKED = {"X-Debug-Resource-Tracking": "true"}
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


async def test_a_request_id_comes_back_in_header_and_body_whether_it_is_run_or_refused(ask: Client, owner: Owner) -> None:
    key = await owner.key("read")
    for given in (key, "nonsense", None):
        answer = await ask(key=given, headers={"X-Request-ID": "job-7:step.2"})
        assert answer.headers["x-request-id"] == answer.body["extensions"]["requestId"] == "job-7:step.2"


@pytest.mark.parametrize("sent", ["", "a b", "x" * 129, 'a"}{', "a,b", "<script>", "../../etc", "é", "%0d%0aX-Evil:1"])
async def test_a_request_id_that_is_none_is_replaced(ask: Client, owner: Owner, sent: str) -> None:
    answer = await ask(key=await owner.key("read"), headers={b"X-Request-ID": sent.encode("latin-1")})
    given = answer.headers["x-request-id"]
    assert re.fullmatch(UUID, given)
    assert answer.body["extensions"]["requestId"] == given


async def test_a_trace_is_gone_on_with_and_what_is_none_begins_one(ask: Client) -> None:
    answer = await ask("{ __typename }", headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})
    assert re.fullmatch(rf"00-{TRACE}-(?!00f067aa0ba902b7)[0-9a-f]{{16}}-01", answer.headers["traceparent"])
    for sent in (
        "",
        "x",
        f"00-{TRACE}-00f067aa0ba902b7",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"ff-{TRACE}-00f067aa0ba902b7-01",
    ):
        told = (await ask("{ __typename }", headers={"traceparent": sent})).headers["traceparent"]
        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", told), sent
        assert TRACE not in told


async def test_the_audit_tells_who_wrote_what_in_which_request_and_what_came_of_it(ask: Client, owner: Owner) -> None:
    name = await owner.tenant()
    key = await owner.key("read", "write", of=name)
    for number in (1, 2):
        await ask(REGISTER, key, {"X-Request-ID": f"write-{number}"}, input=product_fields(owner=f"o{number}"))
    await ask(key=key)
    prefix = prefix_of(key)
    rows = [(it.actor, it.credential, it.operator, it.outcome, it.request_id) for it in await owner.audited(name, 2)]
    assert rows == [(prefix, prefix, False, "CONFLICT", "write-2"), (prefix, prefix, False, "KEPT", "write-1")]


async def test_an_administrator_is_told_what_a_request_took(ask: Client, owner: Owner) -> None:
    key = await owner.key("read", "admin")
    answer = await ask(LIST, key, TRACKED)
    took = answer.body["extensions"]["resources"]
    assert took.keys() == {"statements", "rows", "databaseMilliseconds", "totalMilliseconds"}
    # one enters the tenant, one reads
    assert took["statements"] == 2
    assert 0 < took["databaseMilliseconds"] <= took["totalMilliseconds"] < 5_000
    for said in ("false", "", "yes", "1"):
        assert "resources" not in (await ask(LIST, key, {"X-Debug-Resource-Tracking": said})).body["extensions"]


async def test_nobody_else_is_told_what_a_request_took(ask: Client, owner: Owner) -> None:
    by_token = bearing(token(tenant=await owner.tenant(), scope="read write"))
    for headers in ({"X-API-Key": await owner.key("read", "write")}, by_token):
        answer = await ask(LIST, headers={**headers, **TRACKED})
        assert refused(answer) == (403, "FORBIDDEN")
        assert answer.error["message"] == (
            "Resource tracking requires the scope admin, which the credentials of this request do not have."
        )


CREATE = 'mutation { createKey(input: { label: "x", scopes: ["read"] }) { secret } }'


async def test_neither_the_log_nor_an_error_tells_what_somebody_came_in_with(ask: Client, owner: Owner, service: Service) -> None:
    name = await owner.tenant()
    key, stolen, expired = await owner.key("read", "write", "admin"), await owner.key("read"), await owner.expired_key()
    suspended = await owner.key("read", of=name)
    await owner.revoke(stolen)
    await owner.suspend(name, "the bill is open")
    made = (await ask(CREATE, key)).data["createKey"]["secret"]
    keys = [key, stolen, expired, suspended, made, forged(), f"hw_1_bootstrap_{'s' * 64}", *broken(key).values()]
    tokens = [token(tenant="default"), token(tenant=name), *(make(tenant=name) for make, _ in BAD.values())]
    answers: list[Any] = []
    headers: list[dict[Any, Any]] = [*({b"X-API-Key": it.encode("latin-1")} for it in keys), *(bearing(it) for it in tokens)]
    for given in headers:
        asked = (LIST, "{ nonsense }", "mutation { deleteProduct(input: {}) { uid } }")
        answers += [(await ask(query, headers=given)).body for query in asked]
        response = await ask.http.post("/api/v1/ingest?on_error=x", content=b"{}\n", headers={**given, "Content-Type": "text/x"})
        answers.append(response.json())
    # where it does not belong
    await ask.http.post("/graphql", params={"key": key, "access_token": tokens[0]}, json={"query": LIST}, headers={"Cookie": key})
    answers.append((await ask(LIST, headers={"X-Headwater-Tenant": "x", "X-API-Key": key, "X-Request-ID": "last-one"})).body)

    async def told() -> bool:
        # a line is written once its answer is out
        return '"last-one"' in service.logged()

    await awaited(told)
    logged = service.logged()
    secrets = [it.removeprefix(prefix_of(it)).strip("_") for it in keys if it.startswith("hw_") and it.count("_") > 2]
    secrets += [part for it in tokens for part in it.split(".")[1:] if len(part) > 10]
    assert all(len(secret) > 10 for secret in secrets)
    for secret in secrets:
        assert secret[:40] not in logged
        assert secret[:40] not in json.dumps(answers)
    async with owner.connection() as connection:
        digests = [it["digest"] for it in await connection.fetch("SELECT digest FROM api_key")]
    for digest in digests:
        assert digest.hex() not in logged
    assert "a secret of these tests" not in logged
    assert hashlib.sha256(key.encode()).hexdigest() not in logged

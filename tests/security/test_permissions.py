"""Who may do what, over HTTP: nobody, an operator, whoever writes in one domain, and an administrator who makes keys."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from tests.builders import REGISTER, UPDATE, ApiResponse, product_fields
from tests.graph_api.auth.issuer import token
from tests.security.service_harness import BELIEVED, LIST, Client, Owner, prefix_of, refused

pytestmark = pytest.mark.api

WHO = "{ viewer { tenant actor scopes } }"
CREATE = """
  mutation ($input: CreateKeyInput!) { createKey(input: $input) {
    secret key { prefix label scopes operator createdBy expiresAt revokedAt }
  } }
"""
REVOKE = "mutation ($input: RevokeKeyInput!) { revokeKey(input: $input) { changed key { prefix revokedAt } } }"
KEYS = "{ keys { prefix label scopes operator createdBy revokedAt lastUsedAt } }"
PUT_TYPE = 'mutation { putEntityType(input: { code: "CAT", label: "Cat" }) { entityType { code } } }'


def asking_for(key: str, name: str) -> dict[str, str]:
    return {"X-API-Key": key, "X-Headwater-Tenant": name}


async def test_nobody_may_see_the_schema_and_nothing_else(ask: Client) -> None:
    for query in (
        "{ __typename }",
        "{ __schema { queryType { name } } }",
        '{ __type(name: "Product") { name } }',
        "{ _service { sdl } }",
    ):
        answer = await ask(query)
        assert (answer.status, answer.errors) == (200, []), query
    for query in (LIST, WHO, KEYS, "{ __typename " + LIST[1:], "{ _entities(representations: []) { __typename } }", PUT_TYPE):
        assert refused(await ask(query)) == (401, "UNAUTHENTICATED"), query
    assert refused(await ask(CREATE, input={"label": "x", "scopes": ["admin"]})) == (401, "UNAUTHENTICATED")
    assert refused(await ask(headers={"X-Debug-Resource-Tracking": "true"}, query="{ __typename }")) == (401, "UNAUTHENTICATED")
    response = await ask.http.post("/api/v1/ingest", content=b"{}\n", headers={"Content-Type": "application/jsonl"})
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")


async def test_a_browser_is_shown_graphiql_whoever_asks(ask: Client) -> None:
    for headers in ({}, {"X-API-Key": "nonsense"}):
        response = await ask.http.get("/graphql", headers={"Accept": "text/html", **headers})
        assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert (await ask.http.get("/health")).status_code == (await ask.http.get("/ready")).status_code == 200


async def test_an_operator_acts_in_the_tenant_it_names_and_each_act_is_told_there(ask: Client, owner: Owner) -> None:
    name = await owner.tenant()
    key = await owner.key("read", "write", operator=True)
    before = await owner.audited("default")
    written = await ask(REGISTER, headers={**asking_for(key, name), "X-Request-ID": "act-1"}, input=product_fields("operated"))
    assert written.data["registerProduct"]["changed"] is True
    read = await ask(LIST, headers={**asking_for(key, name), "X-Request-ID": "act-2"})
    assert read.data == {"products": {"nodes": [{"name": "operated"}]}}
    failed = await ask(UPDATE, headers={**asking_for(key, name), "X-Request-ID": "act-3"}, input={"product": {"name": "x"}})
    assert failed.errors
    prefix = prefix_of(key)
    rows = [
        (it.actor, it.credential, it.operator, it.operation, it.outcome, it.request_id) for it in await owner.audited(name, 3)
    ]
    assert rows == [
        (prefix, prefix, True, "mutation { updateProduct }", "NOT_FOUND", "act-3"),
        (prefix, prefix, True, "query { products }", "READ", "act-2"),
        (prefix, prefix, True, "mutation { registerProduct }", "KEPT", "act-1"),
    ]
    # at home it is like anybody
    assert (await ask(WHO, key)).data["viewer"] == {"tenant": "default", "actor": prefix, "scopes": ["read", "write"]}
    assert (await ask(WHO, headers=asking_for(key, name))).data["viewer"]["tenant"] == name
    assert await owner.audited("default") == before
    # what it may not at home it may not elsewhere
    assert refused(await ask(KEYS, headers=asking_for(key, name))) == (403, "FORBIDDEN")


async def test_an_operator_is_let_into_no_tenant_that_is_not_there_or_suspended(ask: Client, owner: Owner) -> None:
    name, key = await owner.tenant(), await owner.key("read", operator=True)
    await owner.suspend(name, "moved out")
    for wanted, said in ((name, "is suspended: moved out"), ("nobody", "no tenant called 'nobody'"), ("", "no tenant called ''")):
        answer = await ask(headers=asking_for(key, wanted))
        assert refused(answer) == (403, "FORBIDDEN")
        assert said in answer.error["message"]


async def test_an_operator_of_a_suspended_tenant_is_let_in_nowhere(ask: Client, owner: Owner) -> None:
    name, other = await owner.tenant(), await owner.tenant()
    key = await owner.key("read", of=name, operator=True)
    await owner.suspend(name, "moved out")
    assert refused(await ask(headers=asking_for(key, other))) == (403, "FORBIDDEN")


async def test_nobody_makes_an_operator_through_the_service(ask: Client, owner: Owner) -> None:
    key = await owner.key("read", "write", "admin", operator=True)
    for more in ({"operator": True}, {"scopes": ["operator"]}):
        answer = await ask(CREATE, key, input={"label": "more", "scopes": ["read"], **more})
        assert answer.errors
        assert "data" not in answer.body or answer.body["data"] is None
    made = await ask(CREATE, key, input={"label": "more", "scopes": ["read"]})
    assert made.data["createKey"]["key"]["operator"] is False
    # nor could it if it wanted to: its role may not
    async with owner.connection() as connection:
        await connection.execute("SET ROLE headwater_service; SELECT set_config('headwater.tenant_id', '1', false)")
        for statement in (
            "UPDATE api_key SET operator = true",
            "INSERT INTO api_key (tenant_id, name, label, digest, scopes, operator, created_at, created_by)"
            " VALUES (1, 'x', 'x', '\\x00', '{read}', true, now(), 'x')",
            "UPDATE api_key SET scopes = '{admin}'",
            "UPDATE api_key SET digest = '\\x00'",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)


async def test_a_key_that_is_made_is_told_once_and_works_at_once(ask: Client, owner: Owner) -> None:
    name = await owner.tenant()
    admin = await owner.key("read", "admin", of=name)
    ends = datetime.now(UTC) + timedelta(days=1)
    given = {"label": "the nightly job", "scopes": ["read"], "expiresAt": ends.isoformat()}
    made = (await ask(CREATE, admin, input=given)).data["createKey"]
    secret, prefix = made["secret"], made["key"]["prefix"]
    assert secret.startswith(f"{prefix}_")
    assert (await ask(WHO, secret)).data["viewer"] == {"tenant": name, "actor": prefix, "scopes": ["read"]}
    listed = await ask(KEYS, admin)
    mine = next(it for it in listed.data["keys"] if it["prefix"] == prefix)
    assert (mine["label"], mine["scopes"], mine["operator"], mine["revokedAt"]) == ("the nightly job", ["read"], False, None)
    assert mine["createdBy"] == prefix_of(admin)
    assert mine["lastUsedAt"] is not None
    assert secret.removeprefix(prefix) not in str(listed.body)
    # of no other tenant
    assert prefix not in str((await ask(KEYS, await owner.key("admin"))).body)


async def test_a_key_that_is_revoked_is_refused_soon(ask: Client, owner: Owner) -> None:
    admin, key = await owner.key("admin"), await owner.key("read")
    assert (await ask(key=key)).status == 200
    prefix = prefix_of(key)
    assert (await ask(REVOKE, admin, input={"prefix": prefix})).data["revokeKey"]["changed"] is True
    assert (await ask(REVOKE, admin, input={"prefix": prefix})).data["revokeKey"]["changed"] is False
    await asyncio.sleep(BELIEVED)
    assert refused(await ask(key=key)) == (401, "UNAUTHENTICATED")


async def test_a_key_of_another_tenant_is_not_there_to_be_revoked(ask: Client, owner: Owner) -> None:
    admin = await owner.key("admin", of=await owner.tenant())
    key = await owner.key("read")
    for prefix in (key, prefix_of(key), "hw_1_nothing", "x", ""):
        assert (await ask(REVOKE, admin, input={"prefix": prefix})).error["extensions"]["code"] == "NOT_FOUND"
    await asyncio.sleep(BELIEVED)
    assert (await ask(key=key)).status == 200


@pytest.mark.parametrize(
    ("own", "wanted", "code"),
    [
        (["admin"], ["read"], "FORBIDDEN"),
        (["admin", "read"], ["read", "write"], "FORBIDDEN"),
        (["admin", "read"], ["write:sales"], "FORBIDDEN"),
        (["admin", "write:sales"], ["write:sales"], None),
        (["admin", "write:sales"], ["write:finance"], "FORBIDDEN"),
        (["admin", "write:sales"], ["write"], "FORBIDDEN"),
        (["admin", "write"], ["write:finance"], None),
        (["admin"], ["admin"], None),
        (["admin"], [], "BAD_INPUT"),
        (["read", "write"], ["read"], "FORBIDDEN"),
    ],
)
async def test_nobody_gives_a_scope_that_they_do_not_have(
    ask: Client, owner: Owner, own: list[str], wanted: list[str], code: str | None
) -> None:
    answer = await ask(CREATE, await owner.key(*own), input={"label": "more", "scopes": wanted})
    if code is None:
        assert answer.data["createKey"]["key"]["scopes"] == wanted
    else:
        assert answer.error["extensions"]["code"] == code


async def test_whoever_asks_is_told_who_they_are(ask: Client, owner: Owner) -> None:
    name = await owner.tenant()
    key = await owner.key("read", "write:sales", "write:finance", of=name)
    prefix = prefix_of(key)
    asked = "{ viewer { tenant actor scopes limits { maxCost products { used allowed } } } }"
    answer = await ask(asked, key)
    assert answer.data["viewer"] == {
        "tenant": name,
        "actor": prefix,
        "scopes": ["read", "write:finance", "write:sales"],
        "limits": {"maxCost": 1_000_000, "products": {"used": 0, "allowed": None}},
    }
    by_token = await ask(WHO, headers={"Authorization": f"Bearer {token(tenant=name, scope='')}"})
    assert by_token.data["viewer"] == {"tenant": name, "actor": "ann@shop.example", "scopes": []}


def code_of(answer: ApiResponse) -> Any:
    return answer.error["extensions"]["code"]


async def test_a_key_of_one_domain_writes_there_and_nowhere_else(ask: Client, owner: Owner) -> None:
    name = await owner.tenant()
    sales, anywhere = await owner.key("read", "write:sales", of=name), await owner.key("read", "write", of=name)
    assert (await ask(REGISTER, sales, input=product_fields("orders"))).data
    assert (await ask(REGISTER, anywhere, input=product_fields("ledger", domain="finance"))).data
    refusals = [
        await ask(REGISTER, sales, input=product_fields("budget", domain="finance")),
        # neither out of its domain, nor into it
        await ask(UPDATE, sales, input={"product": {"name": "orders"}, "domain": "finance"}),
        await ask(UPDATE, sales, input={"product": {"name": "ledger"}, "domain": "sales"}),
        await ask(UPDATE, sales, input={"product": {"name": "ledger"}, "owner": "bob"}),
    ]
    for answer in refusals:
        assert (code_of(answer), answer.body["data"]) == ("FORBIDDEN", None)
        assert "these credentials may write in sales only" in answer.error["message"]
    # what belongs to no domain, and what is loaded with many others, needs more
    assert refused(await ask(PUT_TYPE, sales)) == (403, "FORBIDDEN")
    assert refused(await ask.load(sales, {"kind": "product", **product_fields("loaded")})) == (403, "FORBIDDEN")
    products = (await ask("{ products { nodes { name owner domain { name } } } }", sales)).data["products"]["nodes"]
    assert [(it["name"], it["owner"], it["domain"]["name"]) for it in products] == [
        ("ledger", "ann", "finance"),
        ("orders", "ann", "sales"),
    ]
    assert {it.outcome for it in await owner.audited(name)} == {"KEPT", "FORBIDDEN"}


async def test_whoever_reads_writes_nothing_and_whoever_writes_reads_nothing(ask: Client, owner: Owner) -> None:
    reader, writer = await owner.key("read"), await owner.key("write")
    for query in (PUT_TYPE, KEYS):
        assert refused(await ask(query, reader)) == (403, "FORBIDDEN")
    assert refused(await ask(REGISTER, reader, input=product_fields("x"))) == (403, "FORBIDDEN")
    assert refused(await ask(LIST, writer)) == (403, "FORBIDDEN")
    assert refused(await ask.load(reader, {})) == (403, "FORBIDDEN")

"""Permissions over HTTP: without credentials, of operators, of keys of one domain, and of administrators who create keys."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from tests.builders import REGISTER, UPDATE, ApiResponse, product_fields
from tests.graph_api.auth.issuer import token
from tests.security.service_harness import CACHE_SECONDS, LIST, Client, Owner, key_prefix, rejection

pytestmark = pytest.mark.api

VIEWER = "{ viewer { tenant actor scopes } }"
CREATE = """
  mutation ($input: CreateKeyInput!) { createKey(input: $input) {
    secret key { prefix label scopes operator createdBy expiresAt revokedAt }
  } }
"""
REVOKE = "mutation ($input: RevokeKeyInput!) { revokeKey(input: $input) { changed key { prefix revokedAt } } }"
KEYS = "{ keys { nodes { prefix label scopes operator createdBy revokedAt lastUsedAt } } }"
PUT_TYPE = 'mutation { putEntityType(input: { code: "CAT", label: "Cat" }) { entityType { code } } }'


def in_tenant(key: str, name: str) -> dict[str, str]:
    return {"X-API-Key": key, "X-Headwater-Tenant": name}


async def test_without_credentials_only_introspection_is_allowed(client: Client) -> None:
    for query in (
        "{ __typename }",
        "{ __schema { queryType { name } } }",
        '{ __type(name: "Product") { name } }',
        "{ _service { sdl } }",
    ):
        answer = await client(query)
        assert (answer.status, answer.errors) == (200, []), query
    for query in (LIST, VIEWER, KEYS, "{ __typename " + LIST[1:], "{ _entities(representations: []) { __typename } }", PUT_TYPE):
        assert rejection(await client(query)) == (401, "UNAUTHENTICATED"), query
    assert rejection(await client(CREATE, input={"label": "x", "scopes": ["admin"]})) == (401, "UNAUTHENTICATED")
    assert rejection(await client(headers={"X-Debug-Resource-Tracking": "true"}, query="{ __typename }")) == (
        401,
        "UNAUTHENTICATED",
    )
    response = await client.http.post("/api/v1/ingest", content=b"{}\n", headers={"Content-Type": "application/jsonl"})
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")


async def test_graphiql_and_health_need_no_credentials(client: Client) -> None:
    for headers in ({}, {"X-API-Key": "nonsense"}):
        response = await client.http.get("/graphql", headers={"Accept": "text/html", **headers})
        assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert (await client.http.get("/health")).status_code == (await client.http.get("/ready")).status_code == 200


async def test_an_operator_acts_in_a_named_tenant_and_is_audited_there(client: Client, owner: Owner) -> None:
    name = await owner.tenant()
    key = await owner.key("read", "write", operator=True)
    before = await owner.audit_rows("default")
    written = await client(REGISTER, headers={**in_tenant(key, name), "X-Request-ID": "act-1"}, input=product_fields("operated"))
    assert written.data["registerProduct"]["changed"] is True
    read = await client(LIST, headers={**in_tenant(key, name), "X-Request-ID": "act-2"})
    assert read.data == {"products": {"nodes": [{"name": "operated"}]}}
    failed = await client(UPDATE, headers={**in_tenant(key, name), "X-Request-ID": "act-3"}, input={"product": {"name": "x"}})
    assert failed.errors
    prefix = key_prefix(key)
    rows = [
        (it.actor, it.credential, it.operator, it.operation, it.outcome, it.request_id) for it in await owner.audit_rows(name, 3)
    ]
    assert rows == [
        ("test", prefix, True, "mutation { updateProduct }", "NOT_FOUND", "act-3"),
        ("test", prefix, True, "query { products }", "READ", "act-2"),
        ("test", prefix, True, "mutation { registerProduct }", "KEPT", "act-1"),
    ]
    # in its own tenant it is an ordinary key
    assert (await client(VIEWER, key)).data["viewer"] == {"tenant": "default", "actor": "test", "scopes": ["read", "write"]}
    assert (await client(VIEWER, headers=in_tenant(key, name))).data["viewer"]["tenant"] == name
    assert await owner.audit_rows("default") == before
    # its scopes are the same in every tenant
    assert rejection(await client(KEYS, headers=in_tenant(key, name))) == (403, "FORBIDDEN")


async def test_an_operator_cannot_act_in_an_unknown_or_suspended_tenant(client: Client, owner: Owner) -> None:
    name, key = await owner.tenant(), await owner.key("read", operator=True)
    await owner.suspend(name, "moved out")
    for requested, reason in (
        (name, "is suspended: moved out"),
        ("nobody", "no tenant called 'nobody'"),
        ("", "no tenant called ''"),
    ):
        answer = await client(headers=in_tenant(key, requested))
        assert rejection(answer) == (403, "FORBIDDEN")
        assert reason in answer.error["message"]


async def test_an_operator_of_a_suspended_tenant_can_act_nowhere(client: Client, owner: Owner) -> None:
    name, other = await owner.tenant(), await owner.tenant()
    key = await owner.key("read", of=name, operator=True)
    await owner.suspend(name, "moved out")
    assert rejection(await client(headers=in_tenant(key, other))) == (403, "FORBIDDEN")


async def test_the_service_cannot_create_an_operator(client: Client, owner: Owner) -> None:
    key = await owner.key("read", "write", "admin", operator=True)
    for more in ({"operator": True}, {"scopes": ["operator"]}):
        answer = await client(CREATE, key, input={"label": "more", "scopes": ["read"], **more})
        assert answer.errors
        assert "data" not in answer.body or answer.body["data"] is None
    created = await client(CREATE, key, input={"label": "more", "scopes": ["read"]})
    assert created.data["createKey"]["key"]["operator"] is False
    # the database role of the service lacks the privileges, too
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


async def test_a_created_key_is_returned_once_and_works_at_once(client: Client, owner: Owner) -> None:
    name = await owner.tenant()
    admin = await owner.key("read", "admin", of=name)
    expires_at = datetime.now(UTC) + timedelta(days=1)
    key_input = {"label": "the nightly job", "scopes": ["read"], "expiresAt": expires_at.isoformat()}
    created = (await client(CREATE, admin, input=key_input)).data["createKey"]
    secret, prefix = created["secret"], created["key"]["prefix"]
    assert secret.startswith(f"{prefix}_")
    assert (await client(VIEWER, secret)).data["viewer"] == {"tenant": name, "actor": "the nightly job", "scopes": ["read"]}
    listed = await client(KEYS, admin)
    row = next(it for it in listed.data["keys"]["nodes"] if it["prefix"] == prefix)
    assert (row["label"], row["scopes"], row["operator"], row["revokedAt"]) == ("the nightly job", ["read"], False, None)
    assert row["createdBy"] == "test"
    assert row["lastUsedAt"] is not None
    assert secret.removeprefix(prefix) not in str(listed.body)
    # administrators of other tenants do not see it
    assert prefix not in str((await client(KEYS, await owner.key("admin"))).body)


async def test_a_revoked_key_is_rejected_once_the_cache_expires(client: Client, owner: Owner) -> None:
    admin, key = await owner.key("admin"), await owner.key("read")
    assert (await client(key=key)).status == 200
    prefix = key_prefix(key)
    assert (await client(REVOKE, admin, input={"prefix": prefix})).data["revokeKey"]["changed"] is True
    assert (await client(REVOKE, admin, input={"prefix": prefix})).data["revokeKey"]["changed"] is False
    await asyncio.sleep(CACHE_SECONDS)
    assert rejection(await client(key=key)) == (401, "UNAUTHENTICATED")


async def test_a_key_of_another_tenant_cannot_be_revoked(client: Client, owner: Owner) -> None:
    admin = await owner.key("admin", of=await owner.tenant())
    key = await owner.key("read")
    for prefix in (key, key_prefix(key), "hw_1_nothing", "x", ""):
        assert (await client(REVOKE, admin, input={"prefix": prefix})).error["extensions"]["code"] == "NOT_FOUND"
    await asyncio.sleep(CACHE_SECONDS)
    assert (await client(key=key)).status == 200


@pytest.mark.parametrize(
    ("own", "requested", "code"),
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
async def test_a_key_can_grant_only_its_own_scopes(
    client: Client, owner: Owner, own: list[str], requested: list[str], code: str | None
) -> None:
    answer = await client(CREATE, await owner.key(*own), input={"label": "more", "scopes": requested})
    if code is None:
        assert answer.data["createKey"]["key"]["scopes"] == requested
    else:
        assert answer.error["extensions"]["code"] == code


async def test_viewer_returns_the_identity_and_limits_of_the_caller(client: Client, owner: Owner) -> None:
    name = await owner.tenant()
    key = await owner.key("read", "write:sales", "write:finance", of=name)
    query = "{ viewer { tenant actor scopes limits { maxCost products { used allowed } } } }"
    answer = await client(query, key)
    assert answer.data["viewer"] == {
        "tenant": name,
        "actor": "test",
        "scopes": ["read", "write:finance", "write:sales"],
        "limits": {"maxCost": 1_000_000, "products": {"used": 0, "allowed": None}},
    }
    by_token = await client(VIEWER, headers={"Authorization": f"Bearer {token(tenant=name, scope='')}"})
    assert by_token.data["viewer"] == {"tenant": name, "actor": "ann@shop.example", "scopes": []}


def code_of(answer: ApiResponse) -> Any:
    return answer.error["extensions"]["code"]


async def test_a_key_of_one_domain_can_write_only_in_that_domain(client: Client, owner: Owner) -> None:
    name = await owner.tenant()
    sales, anywhere = await owner.key("read", "write:sales", of=name), await owner.key("read", "write", of=name)
    assert (await client(REGISTER, sales, input=product_fields("orders"))).data
    assert (await client(REGISTER, anywhere, input=product_fields("ledger", domain="finance"))).data
    rejected = [
        await client(REGISTER, sales, input=product_fields("budget", domain="finance")),
        # a product may leave the domain no more than enter it
        await client(UPDATE, sales, input={"product": {"name": "orders"}, "domain": "finance"}),
        await client(UPDATE, sales, input={"product": {"name": "ledger"}, "domain": "sales"}),
        await client(UPDATE, sales, input={"product": {"name": "ledger"}, "owner": "bob"}),
    ]
    for answer in rejected:
        assert (code_of(answer), answer.body["data"]) == ("FORBIDDEN", None)
        assert "these credentials may write in sales only" in answer.error["message"]
    # types belong to no domain, and a load may write in any: both need the scope write
    assert rejection(await client(PUT_TYPE, sales)) == (403, "FORBIDDEN")
    assert rejection(await client.load(sales, {"kind": "product", **product_fields("loaded")})) == (403, "FORBIDDEN")
    products = (await client("{ products { nodes { name owner domain { name } } } }", sales)).data["products"]["nodes"]
    assert [(it["name"], it["owner"], it["domain"]["name"]) for it in products] == [
        ("ledger", "ann", "finance"),
        ("orders", "ann", "sales"),
    ]
    assert {it.outcome for it in await owner.audit_rows(name)} == {"KEPT", "FORBIDDEN"}


async def test_the_scope_read_does_not_allow_writes_nor_write_allow_reads(client: Client, owner: Owner) -> None:
    reader, writer = await owner.key("read"), await owner.key("write")
    for query in (PUT_TYPE, KEYS):
        assert rejection(await client(query, reader)) == (403, "FORBIDDEN")
    assert rejection(await client(REGISTER, reader, input=product_fields("x"))) == (403, "FORBIDDEN")
    assert rejection(await client(LIST, writer)) == (403, "FORBIDDEN")
    assert rejection(await client.load(reader, {})) == (403, "FORBIDDEN")

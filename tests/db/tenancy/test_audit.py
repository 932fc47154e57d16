"""Who did what: told in the transaction that did it, beforehand where an operator reads, and not to be told otherwise later."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import text

from db.assets import product
from db.audit_entry import COMMITTED
from db.author import Author
from db.connection import WriteConnection
from db.database import Database
from db.errors import Conflict, NotFound, Timeout, Unavailable
from db.tenancy import audit, tenant
from db.tenancy.audit import AuditRow
from graph_api.ingestion import source
from schema.execution.executor import Executor, Request
from schema.execution.principal import Principal
from schema.language.scopes import parse_scopes
from schema.root import schema
from tests.builders import REGISTER, UPDATE, Api, Statements, day, iso, product_fields

AUTHOR = Author("ann", "request-7", "mutation { registerProduct }", "hw_1_abc")

ALLOWED = parse_scopes(["read", "write", "admin"])[0]
HERE = Principal(1, "ann", ALLOWED, credential="hw_1_abc")
OPERATOR = Principal(1, "hw_2_op", ALLOWED, credential="hw_2_op", operator=True)


@pytest.fixture
async def owner(address: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(address)
    yield connection
    await connection.close()


async def told(database: Database) -> list[AuditRow]:
    """All that was told, the first first."""
    async with database.snapshot(1) as connection:
        return list(await audit.latest(connection, 100))[::-1]


async def outcomes(database: Database) -> list[tuple[str, str]]:
    return [(it.operation, it.outcome) for it in await told(database)]


async def register(connection: WriteConnection, name: str = "orders") -> None:
    await product.register(connection, product_fields(name), at=day(0))


async def test_a_write_that_is_kept_is_told_once_whatever_it_wrote(database: Database) -> None:
    async with database.transaction(1, AUTHOR) as connection:
        began = connection.now
        await register(connection)
        await register(connection, "stock")
    (row,) = await told(database)
    assert row.at >= began
    assert row == AuditRow(row.at, "ann", "hw_1_abc", False, "mutation { registerProduct }", COMMITTED, "request-7")


async def test_what_is_not_kept_is_not_told_as_if_it_were(database: Database) -> None:
    async def twice() -> None:
        async with database.transaction(1, AUTHOR) as connection:
            await register(connection)
            await register(connection)

    async def defect() -> None:
        async with database.transaction(1, AUTHOR) as connection:
            await register(connection)
            raise RuntimeError

    with pytest.raises(Conflict):
        await twice()
    with pytest.raises(RuntimeError):
        await defect()
    assert await told(database) == []


async def test_where_the_connection_dies_before_the_commit_neither_is_there(
    database: Database, owner: asyncpg.Connection
) -> None:
    async def killed() -> None:
        async with database.transaction(1, AUTHOR, audited=False) as connection:
            await register(connection)
            await connection.write_audit_and_quota(COMMITTED)
            (own,) = await connection.fetch(text("SELECT pg_backend_pid() AS pid, CAST(:tenant AS bigint)"))
            await owner.execute("SELECT pg_terminate_backend($1, 5000)", own.pid)

    with pytest.raises(Unavailable):
        await killed()
    assert await owner.fetchval("SELECT count(*) FROM change") == 0
    assert await told(database) == []


async def test_what_is_mere_bookkeeping_is_not_told(database: Database) -> None:
    async with database.transaction(1, AUTHOR, audited=False):
        pass
    assert await told(database) == []


async def test_what_the_audit_cannot_be_told_is_not_kept(address: str, owner: asyncpg.Connection) -> None:
    database = Database(address, lock_timeout=0.05)
    try:
        async with owner.transaction():
            await owner.execute("LOCK TABLE audit IN EXCLUSIVE MODE")
            with pytest.raises(Timeout):
                async with database.transaction(1, AUTHOR) as connection:
                    await register(connection)
            executor = Executor(schema, database)
            with pytest.raises(Timeout):
                await executor.execute(Request("{ products { totalCount } }"), OPERATOR, "request")
        assert await owner.fetchval("SELECT count(*) FROM change") == 0
    finally:
        await database.close()


async def test_a_mutation_is_told_with_what_came_of_it(api: Api) -> None:
    await api(REGISTER, headers={"x-request-id": "first"}, input=product_fields())
    await api(REGISTER, headers={"x-request-id": "second"}, input=product_fields())
    await api(UPDATE, input={"product": {"name": "nothing"}, "owner": "bob"})
    await api(UPDATE, input={"product": {"name": "orders"}, "owner": "\0"})
    rows = await told(api.database)
    assert [(it.operation, it.outcome) for it in rows] == [
        ("mutation { registerProduct }", COMMITTED),
        ("mutation { registerProduct }", "CONFLICT"),
        ("mutation { updateProduct }", "NOT_FOUND"),
        ("mutation { updateProduct }", "BAD_INPUT"),
    ]
    assert [it.request_id for it in rows][:2] == ["first", "second"]
    assert {(it.actor, it.credential, it.operator) for it in rows} == {("anonymous", "none", False)}


async def test_a_write_of_several_fields_is_told_once_and_by_the_code_of_what_failed(api: Api) -> None:
    two = """
      mutation Both($one: RegisterProductInput!, $other: RegisterProductInput!) {
        one: registerProduct(input: $one) { changed } other: registerProduct(input: $other) { changed }
      }
    """
    given = product_fields()
    assert (await api(two, one=given, other=given)).code_and_field[0] == "CONFLICT"
    assert (await api(two, one=given, other=product_fields("stock"))).data
    assert await outcomes(api.database) == [
        ("mutation Both { registerProduct }", "CONFLICT"),
        ("mutation Both { registerProduct }", COMMITTED),
    ]


async def test_what_is_refused_before_it_asks_anything_of_the_database_is_not_told(api: Api) -> None:
    assert (await api(REGISTER, input={**product_fields(), "name": 7})).code_and_field[0] == "BAD_INPUT"
    assert (await api("mutation { nothing }")).code_and_field[0] == "BAD_INPUT"
    assert await told(api.database) == []


async def test_what_an_operation_does_is_told_however_it_is_written(api: Api) -> None:
    given = {"input": product_fields()}
    declared = "($input: RegisterProductInput!)"
    fragment = "fragment F on Mutation { ... { sure: registerProduct(input: $input) { changed } ...G } }"
    nested = "fragment G on Mutation { ... on Mutation { __typename } }"
    assert (await api(f"mutation {declared} {{ ...F ...F }} {fragment} {nested}", **given)).data
    name = "a" * 5_000
    assert (await api(f"mutation {name}{declared} {{ registerProduct(input: $input) {{ changed }} }}", **given)).errors
    assert await outcomes(api.database) == [
        ("mutation { registerProduct __typename }", COMMITTED),
        (f"mutation {'a' * 100} {{ registerProduct }}", "CONFLICT"),
    ]


async def test_a_load_is_told_once_a_batch_and_what_is_only_tried_not_at_all(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "BATCH", 10)
    lines = [
        json.dumps({"kind": "product", "uid": str(uuid4()), "at": iso(day(0)), **product_fields(f"product {number}")})
        for number in range(25)
    ]
    headers = {"content-type": "application/x-ndjson", "x-request-id": "load"}
    for dry_run, count in (("true", 0), ("false", 3)):
        answer = await api.client.post("/api/v1/ingest", params={"dry_run": dry_run}, content="\n".join(lines), headers=headers)
        assert answer.json()["created"] == 25, answer.text
        rows = await told(api.database)
        assert [(it.operation, it.outcome) for it in rows] == [("ingest", COMMITTED)] * count
    assert all((it.request_id or "").startswith("load/") for it in rows)


async def test_what_an_operator_reads_is_told_before_it_is_read(database: Database, statements: Statements) -> None:
    executor = Executor(schema, database)
    asked = "query Look { products { totalCount } domains { name } }"
    response = await executor.execute(Request(asked), OPERATOR, "request-9")
    assert response.errors == []
    assert ["INTO audit" in it for it in statements.executed] == [True, *([False] * (len(statements) - 1))]
    assert len(statements) > 1
    (row,) = await told(database)
    assert row == AuditRow(row.at, "hw_2_op", "hw_2_op", True, "query Look { products domains }", "READ", "request-9")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{ products(first: -1) { totalCount } }", "BAD_INPUT"),
        ('{ node(id: "nonsense") { id } }', "BAD_INPUT"),
        ("query ($first: Int!) { products(first: $first) { totalCount } }", "BAD_INPUT"),
    ],
)
async def test_what_an_operator_asks_is_told_though_it_fails(database: Database, query: str, code: str) -> None:
    response = await Executor(schema, database).execute(Request(query), OPERATOR, "request")
    assert [it["extensions"]["code"] for it in response.errors] == [code]
    assert [it.outcome for it in await told(database)] == ["READ"]


@pytest.mark.parametrize(
    "query", ["{ __schema { queryType { name } } }", "{ __typename }", '{ __type(name: "Product") { name } }']
)
async def test_that_an_operator_looks_at_the_schema_is_not_told(database: Database, statements: Statements, query: str) -> None:
    response = await Executor(schema, database).execute(Request(query), OPERATOR, "request")
    assert (response.errors, len(statements)) == ([], 0)


async def test_what_others_read_is_not_told_and_what_an_operator_writes_once(database: Database) -> None:
    executor = Executor(schema, database)
    await executor.execute(Request("{ products { totalCount } }"), HERE, "request")
    await executor.execute(Request(REGISTER, {"input": product_fields()}), OPERATOR, "request")
    await executor.execute(Request(REGISTER, {"input": product_fields()}), OPERATOR, "request")
    assert [(it.operator, it.outcome) for it in await told(database)] == [(True, COMMITTED), (True, "CONFLICT")]


async def test_what_the_owner_does_is_told(database: Database, address: str) -> None:
    author = Author("root", operation="tenants create")
    other = await tenant.create(address, "other", author)
    await tenant.change(address, "other", author, settings={"suspended_because": "unpaid"}, allowed={"links": 7})
    with pytest.raises(Conflict):
        await tenant.create(address, "other", author)
    with pytest.raises(NotFound, match="There are: default, other"):
        await tenant.change(address, "another", author)
    async with database.snapshot(other) as connection:
        assert [it.actor for it in await audit.latest(connection, 10)] == ["root", "root"]
        assert (await tenant.quotas(connection))["links"].allowed == 7
    assert await told(database) == []


async def test_the_latest_comes_first_and_no_more_than_is_asked_for(database: Database) -> None:
    for number in range(5):
        await database.record_audit(1, Author(str(number)), "READ")
    async with database.snapshot(1) as connection:
        assert [it.actor for it in await audit.latest(connection, 3)] == ["4", "3", "2"]


KEY = "INSERT INTO api_key (tenant_id, name, label, digest, scopes, created_at, created_by"
VALUES = "VALUES (1, 'k', 'k', decode(repeat('00', 32), 'hex'), '{read}', now(), 'me'"


@pytest.mark.parametrize(
    "forbidden",
    [
        "UPDATE audit SET actor = 'somebody else'",
        "DELETE FROM audit",
        "TRUNCATE audit",
        "INSERT INTO audit (tenant_id, at, actor, credential, operator, operation, outcome)"
        " VALUES (2, now(), 'me', 'none', false, 'write', 'KEPT')",
        f"{KEY}, operator) {VALUES}, true)",
        f"{KEY}, last_used_at) {VALUES}, now())",
        f"{KEY}) {VALUES.replace('(1', '(2')})",
        "UPDATE api_key SET operator = true",
        "UPDATE api_key SET scopes = '{admin}'",
        "UPDATE api_key SET digest = digest",
        "UPDATE api_key SET expires_at = NULL",
        "UPDATE api_key SET tenant_id = 2",
        "DELETE FROM api_key",
        "UPDATE quota SET allowed = NULL",
        "UPDATE quota SET kind = 'LINK'",
        "INSERT INTO quota (tenant_id, kind, allowed) VALUES (1, 'ENTITY', 1000)",
        "INSERT INTO quota (tenant_id, kind, used) VALUES (2, 'ENTITY', 0)",
        "DELETE FROM quota",
        "UPDATE tenant SET suspended_because = NULL",
        "UPDATE tenant SET retention_days = 0",
    ],
)
async def test_the_service_cannot_rewrite_the_audit_nor_give_itself_rights(
    two_tenants: Database, owner: asyncpg.Connection, forbidden: str
) -> None:
    async with owner.transaction():
        # as the service is: a login of its own that is only a member of the role
        await owner.execute("SET LOCAL SESSION AUTHORIZATION headwater_service")
        await owner.execute("SELECT set_config('headwater.tenant_id', '1', true)")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with owner.transaction():
                await owner.execute(forbidden)


async def test_whoever_hides_a_table_behind_one_of_its_own_learns_nothing_more_of_tenants(
    database: Database,
) -> None:
    async with database.transaction(1, AUTHOR, audited=False) as connection:
        await connection.execute(text("CREATE TEMP TABLE tenant AS SELECT CAST(9 AS bigint) AS tenant_id, 'mine' AS name"))
        assert await tenant.tenant_id_of(connection, "mine") is None
        assert await tenant.tenant_id_of(connection, "default") == 1


async def test_a_tenant_is_found_by_its_name_alone_whatever_the_name(two_tenants: Database) -> None:
    async with two_tenants.snapshot(0) as connection:
        for name, found in (
            ("default", 1),
            ("other", 2),
            ("Other", None),
            ("", None),
            ("' OR true --", None),
            ("x" * 10_000, None),
        ):
            assert await tenant.tenant_id_of(connection, name) == found
        assert await tenant.tenant_id_of(connection, "other\0") is None
        assert await tenant.tenant_status(connection) is None


async def test_writes_at_once_are_each_told(database: Database) -> None:
    async def write(number: int) -> None:
        async with database.transaction(1, Author(str(number))) as connection:
            await register(connection, f"product {number}")

    await asyncio.gather(*(write(number) for number in range(10)))
    rows: Any = await told(database)
    assert sorted(it.actor for it in rows) == sorted(str(number) for number in range(10))

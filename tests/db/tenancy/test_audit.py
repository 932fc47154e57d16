"""Tests of the audit log: an entry is part of the transaction that writes, precedes a read by an operator, and never changes."""

import asyncio
import json
from uuid import uuid4

import asyncpg
import pytest

from db.assets import product
from db.audit_entry import COMMITTED
from db.author import Author
from db.connection import WriteConnection
from db.database import Database
from db.errors import Conflict, NotFound, Timeout, Unavailable
from db.sql import text
from db.tenancy import audit, tenant
from db.tenancy.audit import AuditRow
from graph_api.ingestion import source
from schema.execution.executor import Executor
from schema.execution.operation import Request
from schema.execution.principal import Principal
from schema.language.scopes import parse_scopes
from schema.root import schema
from tests.builders import REGISTER, UPDATE, Api, Statements, day, iso, product_fields

AUTHOR = Author("ann", "request-7", "mutation { registerProduct }", "hw_1_abc")

ALLOWED = parse_scopes(["read", "write", "admin"])[0]
CALLER = Principal(1, "ann", ALLOWED, credential="hw_1_abc")
OPERATOR = Principal(1, "hw_2_op", ALLOWED, credential="hw_2_op", operator=True)


async def entries(database: Database) -> list[AuditRow]:
    """Return all entries of the audit log, oldest first."""
    async with database.snapshot(1) as connection:
        return list(await audit.latest(connection, 100))[::-1]


async def outcomes(database: Database) -> list[tuple[str, str]]:
    return [(it.operation, it.outcome) for it in await entries(database)]


async def register(connection: WriteConnection, name: str = "orders") -> None:
    await product.register(connection, product_fields(name), at=day(0))


async def test_committed_write_has_one_entry(database: Database) -> None:
    async with database.transaction(1, AUTHOR) as connection:
        began = connection.now
        await register(connection)
        await register(connection, "stock")
    (row,) = await entries(database)
    assert row.at >= began
    assert row == AuditRow(row.at, "ann", "hw_1_abc", False, "mutation { registerProduct }", COMMITTED, "request-7")


async def test_rolled_back_transaction_has_no_entry(database: Database) -> None:
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
    assert await entries(database) == []


async def test_connection_lost_before_the_commit_leaves_neither_write_nor_entry(
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
    assert await entries(database) == []


async def test_unaudited_transaction_has_no_entry(database: Database) -> None:
    async with database.transaction(1, AUTHOR, audited=False):
        pass
    assert await entries(database) == []


async def test_write_without_entry_is_not_committed(address: str, owner: asyncpg.Connection) -> None:
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


async def test_entry_of_a_mutation_has_its_outcome(api: Api) -> None:
    await api(REGISTER, headers={"x-request-id": "first"}, input=product_fields())
    await api(REGISTER, headers={"x-request-id": "second"}, input=product_fields())
    await api(UPDATE, input={"product": {"name": "nothing"}, "owner": "bob"})
    await api(UPDATE, input={"product": {"name": "orders"}, "owner": "\0"})
    rows = await entries(api.database)
    assert [(it.operation, it.outcome) for it in rows] == [
        ("mutation { registerProduct }", COMMITTED),
        ("mutation { registerProduct }", "CONFLICT"),
        ("mutation { updateProduct }", "NOT_FOUND"),
        ("mutation { updateProduct }", "BAD_INPUT"),
    ]
    assert [it.request_id for it in rows][:2] == ["first", "second"]
    assert {(it.actor, it.credential, it.operator) for it in rows} == {("anonymous", "none", False)}


async def test_mutation_of_several_fields_has_one_entry_with_the_code_of_the_error(api: Api) -> None:
    two = """
      mutation Both($one: RegisterProductInput!, $other: RegisterProductInput!) {
        one: registerProduct(input: $one) { changed } other: registerProduct(input: $other) { changed }
      }
    """
    fields = product_fields()
    assert (await api(two, one=fields, other=fields)).code_and_field[0] == "CONFLICT"
    assert (await api(two, one=fields, other=product_fields("stock"))).data
    assert await outcomes(api.database) == [
        ("mutation Both { registerProduct }", "CONFLICT"),
        ("mutation Both { registerProduct }", COMMITTED),
    ]


async def test_request_refused_before_it_uses_the_database_has_no_entry(api: Api) -> None:
    assert (await api(REGISTER, input={**product_fields(), "name": 7})).code_and_field[0] == "BAD_INPUT"
    assert (await api("mutation { nothing }")).code_and_field[0] == "BAD_INPUT"
    assert await entries(api.database) == []


async def test_entry_names_the_root_fields_through_fragments(api: Api) -> None:
    variables = {"input": product_fields()}
    declared = "($input: RegisterProductInput!)"
    fragment = "fragment F on Mutation { ... { sure: registerProduct(input: $input) { changed } ...G } }"
    nested = "fragment G on Mutation { ... on Mutation { __typename } }"
    assert (await api(f"mutation {declared} {{ ...F ...F }} {fragment} {nested}", **variables)).data
    name = "a" * 5_000
    assert (await api(f"mutation {name}{declared} {{ registerProduct(input: $input) {{ changed }} }}", **variables)).errors
    assert await outcomes(api.database) == [
        ("mutation { registerProduct __typename }", COMMITTED),
        (f"mutation {'a' * 100} {{ registerProduct }}", "CONFLICT"),
    ]


async def test_load_has_one_entry_a_batch_and_a_dry_run_none(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "BATCH", 10)
    lines = [
        json.dumps({"kind": "product", "uid": str(uuid4()), "at": iso(day(0)), **product_fields(f"product {number}")})
        for number in range(25)
    ]
    headers = {"content-type": "application/x-ndjson", "x-request-id": "load"}
    for dry_run, count in (("true", 0), ("false", 3)):
        answer = await api.client.post("/api/v1/ingest", params={"dry_run": dry_run}, content="\n".join(lines), headers=headers)
        assert answer.json()["created"] == 25, answer.text
        rows = await entries(api.database)
        assert [(it.operation, it.outcome) for it in rows] == [("ingest", COMMITTED)] * count
    assert all((it.request_id or "").startswith("load/") for it in rows)


async def test_read_by_an_operator_is_recorded_before_it_runs(database: Database, statements: Statements) -> None:
    executor = Executor(schema, database)
    query = "query Look { products { totalCount } domains { nodes { name } } }"
    response = await executor.execute(Request(query), OPERATOR, "request-9")
    assert response.errors == []
    assert ["INTO audit" in it for it in statements.executed] == [True, *([False] * (len(statements) - 1))]
    assert len(statements) > 1
    (row,) = await entries(database)
    assert row == AuditRow(row.at, "hw_2_op", "hw_2_op", True, "query Look { products domains }", "READ", "request-9")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{ products(first: -1) { totalCount } }", "BAD_INPUT"),
        ('{ node(id: "nonsense") { id } }', "BAD_INPUT"),
        ("query ($first: Int!) { products(first: $first) { totalCount } }", "BAD_INPUT"),
    ],
)
async def test_failed_read_by_an_operator_is_recorded(database: Database, query: str, code: str) -> None:
    response = await Executor(schema, database).execute(Request(query), OPERATOR, "request")
    assert [it["extensions"]["code"] for it in response.errors] == [code]
    assert [it.outcome for it in await entries(database)] == ["READ"]


@pytest.mark.parametrize(
    "query", ["{ __schema { queryType { name } } }", "{ __typename }", '{ __type(name: "Product") { name } }']
)
async def test_introspection_by_an_operator_is_not_recorded(database: Database, statements: Statements, query: str) -> None:
    response = await Executor(schema, database).execute(Request(query), OPERATOR, "request")
    assert (response.errors, len(statements)) == ([], 0)


async def test_reads_of_others_are_not_recorded_and_writes_of_an_operator_once(database: Database) -> None:
    executor = Executor(schema, database)
    await executor.execute(Request("{ products { totalCount } }"), CALLER, "request")
    await executor.execute(Request(REGISTER, {"input": product_fields()}), OPERATOR, "request")
    await executor.execute(Request(REGISTER, {"input": product_fields()}), OPERATOR, "request")
    assert [(it.operator, it.outcome) for it in await entries(database)] == [(True, COMMITTED), (True, "CONFLICT")]


async def test_writes_of_the_owner_are_recorded(database: Database, address: str) -> None:
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
    assert await entries(database) == []


async def test_latest_returns_the_newest_entries_first(database: Database) -> None:
    for number in range(5):
        await database.record_audit(1, Author(str(number)), "READ")
    async with database.snapshot(1) as connection:
        assert [it.actor for it in await audit.latest(connection, 3)] == ["4", "3", "2"]


KEY = "INSERT INTO api_key (tenant_id, name, label, digest, scopes, created_at, created_by"
VALUES = "VALUES (1, 'k', 'k', decode(repeat('00', 32), 'hex'), '{read}', now(), 'me'"


@pytest.mark.parametrize(
    "forbidden",
    [
        "UPDATE audit SET actor = 'another'",
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
async def test_service_can_neither_rewrite_the_audit_log_nor_extend_its_rights(
    two_tenants: Database, owner: asyncpg.Connection, forbidden: str
) -> None:
    async with owner.transaction():
        # as a login of the service, which is only a member of its role
        await owner.execute("SET LOCAL SESSION AUTHORIZATION headwater_service")
        await owner.execute("SELECT set_config('headwater.tenant_id', '1', true)")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with owner.transaction():
                await owner.execute(forbidden)


async def test_temporary_table_does_not_shadow_the_table_of_tenants(
    database: Database,
) -> None:
    async with database.transaction(1, AUTHOR, audited=False) as connection:
        await connection.execute(text("CREATE TEMP TABLE tenant AS SELECT CAST(9 AS bigint) AS tenant_id, 'mine' AS name"))
        assert await tenant.tenant_id_of(connection, "mine") is None
        assert await tenant.tenant_id_of(connection, "default") == 1


async def test_tenant_is_found_by_its_exact_name(two_tenants: Database) -> None:
    async with two_tenants.snapshot(0) as connection:
        for name, tenant_id in (
            ("default", 1),
            ("other", 2),
            ("Other", None),
            ("", None),
            ("' OR true --", None),
            ("x" * 10_000, None),
        ):
            assert await tenant.tenant_id_of(connection, name) == tenant_id
        assert await tenant.tenant_id_of(connection, "other\0") is None
        assert await tenant.tenant_status(connection) is None


async def test_concurrent_writes_have_an_entry_each(database: Database) -> None:
    async def write(number: int) -> None:
        async with database.transaction(1, Author(str(number))) as connection:
            await register(connection, f"product {number}")

    await asyncio.gather(*(write(number) for number in range(10)))
    rows = await entries(database)
    assert sorted(it.actor for it in rows) == sorted(str(number) for number in range(10))

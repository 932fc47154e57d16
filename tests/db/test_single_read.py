"""Single reads: one statement without a transaction, on a connection that different tenants use in turn."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from traceback import format_exception
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from db.assets import entity, entity_query, product, product_query
from db.assets.entity_query import EntityQuery
from db.assets.product_query import ProductQuery
from db.author import Author
from db.database import Database
from db.driver_connection import DriverConnection
from db.errors import HeadwaterError, ReadOnly, Timeout, Unavailable
from db.pagination import Page
from db.rows import Row
from db.sql import text
from tests.builders import day, product_fields
from tests.db.conftest import OTHER
from tests.hooks import AttachedHook
from tests.security.isolation_layers import without_predicates, without_row_level_security

TENANTS = (1, OTHER)
ROWS = text("SELECT tenant_id, pg_backend_pid() AS pid FROM product_version WHERE tenant_id = CAST(:tenant AS bigint)")
FAILING = text("SELECT 1 / (tenant_id - tenant_id) AS number FROM product_version WHERE tenant_id = CAST(:tenant AS bigint)")
SLEEP = text("SELECT pg_sleep(30) FROM product_version WHERE tenant_id = CAST(:tenant AS bigint)")


@pytest.fixture
async def shared(two_tenants: Database, address: str) -> AsyncIterator[Database]:
    """A database with the rows of two tenants, whose single reads share one connection."""
    database = Database(address, pool_size=1, statement_timeout=1)
    yield database
    await database.close()


async def read_rows(database: Database, tenant_id: int) -> list[Row]:
    return list(await database.single_read(tenant_id).fetch(ROWS))


async def check_turns(database: Database) -> None:
    """Read as each tenant in turn, with every kind of failure between two reads."""
    for fail in (succeed, fail_in_statement, fail_in_setting, cancel_statement, lose_the_answer, exceed_the_timeout):
        for first, second in (TENANTS, TENANTS[::-1]):
            assert {row.tenant_id for row in await read_rows(database, first)} == {first}
            for tenant_id in (first, second):
                await fail(database, tenant_id)
            assert {row.tenant_id for row in await read_rows(database, first)} == {first}
            assert {row.tenant_id for row in await read_rows(database, second)} == {second}


async def succeed(database: Database, tenant_id: int) -> None:
    await read_rows(database, tenant_id)


async def fail_in_statement(database: Database, tenant_id: int) -> None:
    with pytest.raises(asyncpg.DivisionByZeroError):
        await database.single_read(tenant_id).fetch(FAILING)


async def cancel_statement(database: Database, tenant_id: int) -> None:
    reading = asyncio.create_task(database.single_read(tenant_id).fetch(SLEEP))
    await asyncio.sleep(0.05)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def exceed_the_timeout(database: Database, tenant_id: int) -> None:
    with pytest.raises(Timeout):
        await database.single_read(tenant_id).fetch(SLEEP)


class _FailingSetting(AttachedHook):
    """Hook under which the setting of a tenant fails, before or after the server has made it."""

    def __init__(self, database: Database, *, is_made: bool) -> None:
        super().__init__(database)
        self._is_made = is_made

    async def before(self, connection: "asyncpg.Connection[Row]", text: str, arguments: Sequence[Any] | None) -> str:
        await super().before(connection, text, arguments)
        if "set_config" in text:
            if self._is_made:
                await connection.fetch(text, *(arguments or ()))
            raise ConnectionError("the answer is lost")
        return text


async def fail_in_setting(database: Database, tenant_id: int, *, is_made: bool = False) -> None:
    other = next(it for it in TENANTS if it != tenant_id)
    await read_rows(database, other)
    with _FailingSetting(database, is_made=is_made), pytest.raises(Unavailable):
        await read_rows(database, tenant_id)


async def lose_the_answer(database: Database, tenant_id: int) -> None:
    await fail_in_setting(database, tenant_id, is_made=True)


async def test_tenants_in_turn_read_their_own_rows(shared: Database) -> None:
    await check_turns(shared)


async def test_session_setting_alone_isolates_tenants_in_turn(shared: Database) -> None:
    with without_predicates(shared):
        await check_turns(shared)


async def test_predicates_alone_isolate_tenants_in_turn(shared: Database, address: str) -> None:
    await without_row_level_security(address)
    await check_turns(shared)


def never_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tenant that was noted for a connection when it is set anew."""
    noted: dict[Any, int] = {}

    def note(self: Any, tenant_id: int | None) -> None:
        if tenant_id is not None:
            noted[self] = tenant_id

    monkeypatch.setattr(DriverConnection, "tenant_id", property(noted.get, note))


def never_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep connections after errors."""
    monkeypatch.setattr(DriverConnection, "is_usable", property(lambda _: True, lambda *_: None))


@pytest.mark.parametrize("remove", [never_forgotten, never_closed])
async def test_each_defence_of_the_session_isolates_without_the_other(
    shared: Database, remove: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove(monkeypatch)
    with without_predicates(shared):
        await check_turns(shared)


async def test_without_both_defences_a_session_keeps_a_tenant_that_is_not_noted(
    shared: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests above prove something: they fail without both defences."""
    never_forgotten(monkeypatch)
    never_closed(monkeypatch)
    with without_predicates(shared), pytest.raises(AssertionError):
        await check_turns(shared)


@pytest.mark.parametrize("has_policies", [True, False])
async def test_a_session_of_another_tenant_shows_nothing(shared: Database, address: str, has_policies: bool) -> None:
    if not has_policies:
        await without_row_level_security(address)
    await read_rows(shared, OTHER)
    (driver,) = shared.read_pool._idle
    driver.tenant_id = 1
    visible = await read_rows(shared, 1)
    # the setting is wrong, so the predicate and the policy contradict each other
    assert {row.tenant_id for row in visible} == (set() if has_policies else {1})


async def test_reads_of_one_tenant_set_it_once(shared: Database) -> None:
    with _Counter(shared) as counter:
        pids = {row.pid for _ in range(3) for row in await read_rows(shared, 1)}
        assert counter.texts == ["SELECT set_config", "SELECT tenant_id", "SELECT tenant_id", "SELECT tenant_id"]
        assert len(pids) == 1
        await fail_in_statement(shared, 1)
        assert pids.isdisjoint({row.pid for row in await read_rows(shared, 1)}), "the connection was not closed after the error"


class _Counter(AttachedHook):
    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.texts: list[str] = []

    async def before(self, connection: "asyncpg.Connection[Row]", text: str, arguments: Sequence[Any] | None) -> str:
        self.texts.append(text.partition("(")[0].partition(",")[0])
        return await super().before(connection, text, arguments)


async def test_a_second_statement_is_refused(shared: Database) -> None:
    connection = shared.single_read(1)
    await connection.fetch(ROWS)
    with pytest.raises(AssertionError, match="one statement"):
        await connection.fetch(ROWS)
    assert shared.connections_in_use == 0


async def test_a_single_read_cannot_write(shared: Database) -> None:
    with pytest.raises(ReadOnly):
        await shared.single_read(1).fetch(text("INSERT INTO domain (tenant_id, name) VALUES (CAST(:tenant AS bigint), 'x')"))


async def test_a_connection_that_the_server_closed_is_replaced(shared: Database, server: str) -> None:
    (row,) = await read_rows(shared, 1)
    superuser = await asyncpg.connect(server)
    await superuser.execute("SELECT pg_terminate_backend($1)", row.pid)
    await superuser.close()
    (again,) = await read_rows(shared, 1)
    assert again.pid != row.pid


async def test_single_reads_find_what_snapshots_find(two_tenants: Database) -> None:
    author = Author("tester")
    async with two_tenants.transaction(1, author) as connection:
        await product.register(connection, product_fields("later"))
    now = ProductQuery(search="late")
    entities = EntityQuery()
    for as_of in (None, day(2)):
        async with two_tenants.snapshot(1) as snapshot:
            for read in (
                lambda it, as_of=as_of: product.products_by_name(it, ["later", "none"], as_of),
                lambda it: product_query.list_products(it, now, Page(5)),
                lambda it: product_query.count_products(it, now),
                lambda it: entity_query.list_entities(it, entities, Page(5)),
                lambda it, as_of=as_of: entity.entities_by_key(it, [("PERSON", "7")], as_of),
            ):
                expected, found = await read(snapshot), await read(two_tenants.single_read(1))
                assert _without_instants(found) == _without_instants(expected)
            uids = [it.uid for it in (await product_query.list_products(snapshot, ProductQuery(), Page(5))).items]
            assert uids
            found_products = await product.products_by_uid(two_tenants.single_read(1), uids, None)
            assert [it and it.uid for it in found_products] == uids


def _without_instants(value: Any) -> str:
    return str(value).partition("as_of")[0]


async def test_a_read_that_begins_after_a_write_was_answered_sees_it(shared: Database) -> None:
    for number in range(50):
        async with shared.transaction(1, Author("tester")) as connection:
            await product.register(connection, product_fields(f"product {number}"))
        (found,) = await product.products_by_name(shared.single_read(1), [f"product {number}"], None)
        assert found is not None
        async with shared.snapshot(1) as snapshot:
            (found,) = await product.products_by_name(snapshot, [f"product {number}"], None)
            assert found is not None
            assert found.as_of == snapshot.now
        async with shared.snapshot(1, read_now=False) as snapshot:
            (found,) = await product.products_by_name(snapshot, [f"product {number}"], None)
            assert found is not None


async def test_behind_a_pooler_every_read_has_a_block(two_tenants: Database, address: str) -> None:
    database = Database(address, pool_size=1, behind_pooler=True)
    settings = text(
        "SELECT current_user AS role, current_setting('statement_timeout') AS timeout,"
        " current_setting('headwater.tenant_id') AS tenant WHERE CAST(:tenant AS bigint) > 0"
    )
    with _Counter(database) as counter:
        for tenant_id in TENANTS:
            assert {row.tenant_id for row in await read_rows(database, tenant_id)} == {tenant_id}
            (row,) = await database.single_read(tenant_id).fetch(settings)
            assert (row.role, row.timeout, row.tenant) == ("headwater_service", "30s", str(tenant_id))
        assert [it[:6] for it in counter.texts] == ["BEGIN ", "SELECT", "COMMIT"] * 4
    # what a transaction set is gone after it
    (driver,) = database.pool._idle
    (row,) = await driver.fetch("SELECT current_user AS role, current_setting('headwater.tenant_id', true) AS tenant")
    assert row.role != "headwater_service"
    assert not row.tenant
    assert database.read_pool._idle == []
    connection = database.single_read(1)
    await connection.fetch(ROWS)
    with pytest.raises(AssertionError, match="one statement"):
        await connection.fetch(ROWS)
    async with database.transaction(1, Author("tester")) as writer:
        await product.register(writer, product_fields("pooled"))
    with pytest.raises(HeadwaterError):
        async with database.transaction(1, Author("tester")) as writer:
            await product.register(writer, product_fields("pooled"))
    await database.close()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT CAST(CAST(:secret AS text) AS integer) AS number FROM tenant WHERE tenant_id = CAST(:tenant AS bigint)",
        "INSERT INTO domain (tenant_id, name) VALUES (CAST(:tenant AS bigint), 'sales'), (CAST(:tenant AS bigint), 'sales')"
        " RETURNING CAST(:secret AS text) AS secret",
        "INSERT INTO change (tenant_id, kind, subject_id, operation, change_ts, changed, recorded_at, actor)"
        " VALUES (CAST(:tenant AS bigint), 'LINK', 1, CAST(:secret AS text), now(), true, now(), 'x')",
        "SELECT CAST(:secret AS bigint) AS number FROM tenant WHERE tenant_id = CAST(:tenant AS bigint)",
    ],
    ids=["invalid", "duplicate", "violation", "unencodable"],
)
async def test_an_error_quotes_no_value_of_a_parameter_or_a_row(shared: Database, statement: str) -> None:
    secret = uuid4().hex
    with pytest.raises(Exception) as raised:  # noqa: PT011
        async with shared.transaction(1, Author("writer"), audited=False) as connection:
            await connection.fetch(text(statement), {"secret": secret})
    logged = "".join(format_exception(raised.value))
    assert secret not in logged
    assert "(sales)" not in logged
    assert "Failing row" not in logged

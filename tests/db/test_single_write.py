"""Single writes: one statement that commits by itself, on a connection that different tenants use in turn."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import asyncpg
import pytest

from db.assets import product
from db.author import Author
from db.database import Database
from db.errors import Conflict
from db.temporal.verification import verify_tenant
from db.tenancy.audit import latest
from tests.builders import product_fields
from tests.db.conftest import OTHER

TENANTS = (1, OTHER)
AUTHOR = Author("tester")


@pytest.fixture
async def shared(two_tenants: Database, address: str) -> AsyncIterator[Database]:
    """A database with the rows of two tenants, who share one connection."""
    database = Database(address, pool_size=1)
    yield database
    await database.close()


async def register(database: Database, tenant_id: int, name: str) -> product.ProductRow:
    async with database.transaction(tenant_id, AUTHOR) as connection:
        await product.register(connection, product_fields(name, owner="ann"))
    async with database.snapshot(tenant_id) as connection:
        (row,) = await product.products_by_name(connection, [name], None)
    assert row is not None
    return row


async def owner_of(database: Database, tenant_id: int, name: str) -> str:
    async with database.snapshot(tenant_id) as connection:
        (row,) = await product.products_by_name(connection, [name], None)
        assert (await verify_tenant(connection)).differences == []
    assert row is not None
    return row.owner


async def test_tenants_write_in_turn_on_one_connection(shared: Database) -> None:
    products = {it: await register(shared, it, "in turn") for it in TENANTS}
    taken = {it: await register(shared, it, "taken") for it in TENANTS}
    for number, (first, second) in enumerate((TENANTS, TENANTS[::-1], TENANTS)):
        for tenant_id, other in ((first, second), (second, first)):
            writer = shared.single_write(tenant_id, AUTHOR)
            assert writer is not None
            written = await product.update_at_once(writer, products[tenant_id].uid, {"owner": f"owner {number}"})
            assert written is not None
            assert written.row.owner == await owner_of(shared, tenant_id, "in turn") == f"owner {number}"
            # the uid of another tenant is unknown, and nothing is written or audited
            writer = shared.single_write(other, AUTHOR)
            assert writer is not None
            assert await product.update_at_once(writer, products[tenant_id].uid, {"owner": "intruder"}) is None
            # an error rolls back and closes the connection, whose tenant is not known for certain
            writer = shared.single_write(tenant_id, AUTHOR)
            assert writer is not None
            with pytest.raises(Conflict):
                await product.update_at_once(writer, products[tenant_id].uid, {"name": taken[tenant_id].name})
    for tenant_id in TENANTS:
        async with shared.snapshot(tenant_id) as connection:
            assert [it.outcome for it in await latest(connection, 5)] == ["KEPT"] * 5
        assert await owner_of(shared, tenant_id, "in turn") == "owner 2"


async def test_a_write_that_is_refused_keeps_its_connection(shared: Database) -> None:
    uid, _ = (await register(shared, 1, "a")).uid, await register(shared, 1, "b")
    pids = set()
    for name in ("b", "b", "c"):
        writer = shared.single_write(1, AUTHOR)
        assert writer is not None
        with suppress(Conflict):
            await product.update_at_once(writer, uid, {"name": name})
        pids.add(await backend_of(shared))
    assert len(pids) == 1
    assert await owner_of(shared, 1, "c") == "ann"


async def test_a_write_replaces_a_connection_that_the_server_closed_while_it_was_idle(
    shared: Database, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = (await register(shared, 1, "a")).uid
    monkeypatch.setattr("db.driver_connection._IDLE_AFTER", 0)
    for owner in ("first", "second"):
        writer = shared.single_write(1, AUTHOR)
        assert writer is not None
        assert await product.update_at_once(writer, uid, {"owner": owner}) is not None
        backend = await backend_of(shared)
        # the event loop is kept waiting meanwhile, so that it does not hear of the end
        with ThreadPoolExecutor() as executor:
            executor.submit(asyncio.run, end_backend(server, backend)).result()
    assert await owner_of(shared, 1, "a") == "second"


async def test_a_transaction_without_a_tenant_does_not_have_that_of_the_session(shared: Database) -> None:
    uid = (await register(shared, 1, "a")).uid
    writer = shared.single_write(1, AUTHOR)
    assert writer is not None
    assert await product.update_at_once(writer, uid, {"owner": "bob"}) is not None
    async with shared._block("BEGIN", None) as driver:
        (row,) = await driver.fetch("SELECT current_setting('headwater.tenant_id', true) AS tenant")
        assert row.tenant == ""
        assert await driver.fetch("SELECT FROM product_version") == []


async def end_backend(server: str, backend: int) -> None:
    superuser = await asyncpg.connect(server)
    assert await superuser.fetchval("SELECT pg_terminate_backend($1, 10000)", backend)
    await superuser.close()


async def backend_of(database: Database) -> int:
    async with database._block("BEGIN", None) as driver:
        (row,) = await driver.fetch("SELECT pg_backend_pid() AS pid")
        return int(row.pid)


async def test_behind_a_pooler_there_is_no_single_write(address: str) -> None:
    database = Database(address, behind_pooler=True)
    assert database.single_write(1, AUTHOR) is None
    await database.close()

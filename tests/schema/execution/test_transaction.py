"""A transaction is given back to the pool, whenever whoever waits for it goes away."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import text

from db.author import Author
from db.database import Database
from db.query_stats import QueryStats
from schema.execution.transaction import Transaction

Ending = Callable[[Transaction], Awaitable[None]]

_LONG = text("SELECT pg_sleep(30)")


@pytest.mark.parametrize(
    ("writes", "ending"),
    [(False, Transaction.rollback), (True, Transaction.rollback), (True, Transaction.commit), (False, Transaction.abort)],
    ids=["reader leaves", "writer leaves", "writer keeps", "reader aborts"],
)
async def test_who_goes_away_while_it_ends_leaves_no_connection_behind(database: Database, writes: bool, ending: Ending) -> None:
    transaction = Transaction(database, 1, Author("tester"), QueryStats(), writes=writes)
    connection = await transaction.reader()
    running = asyncio.create_task(connection.fetch(_LONG))
    await asyncio.sleep(0)
    leaving = asyncio.ensure_future(ending(transaction))
    # it waits for what runs
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    async with asyncio.timeout(10):
        await asyncio.wait([running])
        while database.engine.pool.checkedout():  # type: ignore[attr-defined]  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert running.cancelled() or running.exception() is not None


async def test_what_nobody_waits_for_any_more_is_not_kept(database: Database) -> None:
    transaction = Transaction(database, 1, Author("tester"), QueryStats(), writes=True)
    connection = await transaction.writer()
    await connection.execute(text("INSERT INTO domain (tenant_id, name) VALUES (CAST(:tenant AS bigint), 'left')"))
    running = asyncio.create_task(connection.fetch(_LONG))
    await asyncio.sleep(0)
    keeping = asyncio.ensure_future(transaction.commit())
    await asyncio.sleep(0)
    keeping.cancel()
    await asyncio.wait([keeping, running])
    async with database.snapshot(1) as reader:
        found = await reader.fetch(text("SELECT name FROM domain WHERE tenant_id = CAST(:tenant AS bigint)"))
    assert found == []

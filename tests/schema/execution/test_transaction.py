"""A transaction returns its connection to the pool even if its caller is cancelled while it ends."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from db.author import Author
from db.connection import QueryStats
from db.database import Database
from db.errors import Unavailable
from db.sql import text
from schema.execution.transaction import Transaction

Ending = Callable[[Transaction], Awaitable[None]]

_LONG = text("SELECT pg_sleep(30)")


@pytest.mark.parametrize(
    ("writes", "ending"),
    [(False, Transaction.rollback), (True, Transaction.rollback), (True, Transaction.commit), (False, Transaction.abort)],
    ids=["roll back a read", "roll back a write", "commit a write", "abort a read"],
)
async def test_a_caller_cancelled_while_the_transaction_ends_leaves_no_connection(
    database: Database, writes: bool, ending: Ending
) -> None:
    transaction = Transaction(database, 1, Author("tester"), QueryStats(), writes=writes)
    connection = await transaction.reader()
    running = asyncio.create_task(connection.fetch(_LONG))
    await asyncio.sleep(0)
    ending_task = asyncio.ensure_future(ending(transaction))
    # it waits for the statement that runs
    await asyncio.sleep(0)
    ending_task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending_task
    async with asyncio.timeout(10):
        await asyncio.wait([running])
        while database.connections_in_use:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert running.cancelled() or running.exception() is not None


async def test_a_commit_whose_caller_is_cancelled_is_rolled_back(database: Database) -> None:
    transaction = Transaction(database, 1, Author("tester"), QueryStats(), writes=True)
    connection = await transaction.writer()
    await connection.execute(text("INSERT INTO domain (tenant_id, name) VALUES (CAST(:tenant AS bigint), 'left')"))
    running = asyncio.create_task(connection.fetch(_LONG))
    await asyncio.sleep(0)
    committing = asyncio.ensure_future(transaction.commit())
    await asyncio.sleep(0)
    committing.cancel()
    await asyncio.wait([committing, running])
    async with database.snapshot(1) as reader:
        rows = await reader.fetch(text("SELECT name FROM domain WHERE tenant_id = CAST(:tenant AS bigint)"))
    assert rows == []


async def test_an_operation_cancelled_while_its_transaction_begins_runs_no_statement(address: str) -> None:
    database = Database(address, pool_size=1)
    transaction = Transaction(database, 1, Author("tester"), QueryStats(), writes=False)

    async def begin_and_read() -> None:
        connection = await transaction.reader()
        await connection.fetch(text("SELECT"))

    try:
        async with database.snapshot(1):
            # the pool is exhausted, so that the transaction cannot begin yet
            running = asyncio.create_task(begin_and_read())
            await asyncio.sleep(0)
            aborting = asyncio.ensure_future(transaction.abort())
            await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="has ended"):
            await running
        await aborting
    finally:
        await database.close()

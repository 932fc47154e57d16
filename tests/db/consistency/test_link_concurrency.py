"""Concurrent writers of a link and of its ends: the second waits, and sees the writes of the first."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from db.assets import asset, product
from db.assets.reference import AssetRef
from db.associations import lineage_link, reference
from db.author import Author
from db.connection import WriteConnection
from db.database import Database
from db.errors import HeadwaterError, TransactionConflict
from db.temporal.kinds import PRODUCT
from db.temporal.verification import verify_tenant
from tests.builders import day, product_fields
from tests.db.consistency.lock_waits import wait_until_queued

RAW, CLEAN = UUID(int=1), UUID(int=2)

Write = Callable[[WriteConnection], Awaitable[Any]]


async def register(connection: WriteConnection) -> None:
    await lineage_link.register(connection, AssetRef(uid=RAW), AssetRef(uid=CLEAN), None, {}, at=day(1))


async def change(connection: WriteConnection) -> None:
    await lineage_link.register(connection, AssetRef(uid=RAW), AssetRef(uid=CLEAN), None, {"confidence": 0.5}, at=day(3))


async def remove(connection: WriteConnection) -> None:
    await lineage_link.remove(connection, reference.link_uid(RAW, CLEAN, None), at=day(7))


async def delete_source(connection: WriteConnection) -> None:
    await asset.delete(connection, PRODUCT, RAW, at=day(5))


async def delete_target(connection: WriteConnection) -> None:
    await asset.delete(connection, PRODUCT, CLEAN, at=day(6))


async def delete_and_restore_source(connection: WriteConnection) -> None:
    await asset.delete(connection, PRODUCT, RAW, at=day(5))
    await asset.restore(connection, PRODUCT, RAW, at=day(8))


@pytest.mark.parametrize(
    ("before", "first", "second", "effective"),
    [
        pytest.param([], register, delete_source, [(1, 5)], id="register, delete the source"),
        pytest.param([], register, delete_target, [(1, 6)], id="register, delete the target"),
        pytest.param([], delete_source, register, [(1, 5)], id="delete the source, register before that instant"),
        pytest.param([], register, change, [(1, 3), (3, None)], id="register, change"),
        pytest.param([register], delete_source, delete_target, [(1, 5)], id="delete both ends"),
        pytest.param([register], delete_target, delete_and_restore_source, [(1, 5)], id="delete one end, restore the other"),
        pytest.param([register], remove, delete_source, [(1, 5)], id="remove, delete the source"),
        pytest.param([register], delete_and_restore_source, remove, [(1, 5)], id="restore the source, remove"),
        pytest.param([register], change, delete_and_restore_source, [(1, 3), (3, 5), (8, None)], id="change, restore the source"),
    ],
)
async def test_the_second_writer_sees_the_writes_of_the_first(
    database: Database, address: str, before: list[Write], first: Write, second: Write, effective: list[tuple[int, int | None]]
) -> None:
    async with database.transaction(1, Author("setup")) as connection:
        for uid, name in ((RAW, "raw"), (CLEAN, "clean")):
            await product.register(connection, product_fields(name), uid=uid, at=day(0))
        for write in before:
            await write(connection)

    async def write_second() -> None:
        async with database.transaction(1, Author("second")) as connection:
            await second(connection)

    observer = await asyncpg.connect(address)
    async with database.transaction(1, Author("first")) as connection:
        await first(connection)
        task = asyncio.create_task(write_second())
        await wait_until_queued(observer, task=task)
    await task
    rows = await observer.fetch(
        "SELECT valid_from, NULLIF(valid_to, 'infinity') AS valid_to FROM lineage_link_effective ORDER BY valid_from"
    )
    await observer.close()
    assert [(row["valid_from"], row["valid_to"]) for row in rows] == [
        (day(since), None if until is None else day(until)) for since, until in effective
    ]
    async with database.snapshot(1) as reader:
        assert (await verify_tenant(reader)).differences == []


async def test_a_name_is_resolved_again_after_the_wait_for_its_lock(database: Database, address: str) -> None:
    """A name passes to another product while a writer waits for the first one: the link belongs to the other product."""
    other = UUID(int=3)
    async with database.transaction(1, Author("setup")) as connection:
        for uid, name in ((RAW, "raw"), (CLEAN, "clean"), (other, "other")):
            await product.register(connection, product_fields(name), uid=uid, at=day(0))

    async def write_second() -> UUID:
        while True:
            with suppress(TransactionConflict):
                async with database.transaction(1, Author("second")) as connection:
                    outcome = await lineage_link.register(connection, AssetRef(product="raw"), AssetRef(uid=CLEAN), None, {})
                    (row,) = await lineage_link.links_at(connection, [(outcome.subject_id, outcome.at)])
                    assert row is not None
                    return row.uid

    observer = await asyncpg.connect(address)
    async with database.transaction(1, Author("first")) as connection:
        await product.update(connection, RAW, {"name": "renamed"})
        await product.update(connection, other, {"name": "raw"})
        task = asyncio.create_task(write_second())
        await wait_until_queued(observer, task=task)
    await observer.close()
    assert await task == reference.link_uid(other, CLEAN, None)


async def test_concurrent_batches_of_links_and_deletions_of_their_ends_leave_a_consistent_history(database: Database) -> None:
    """Batches list the same links in different orders, while their ends are deleted and restored."""
    uids = [UUID(int=number) for number in range(1, 9)]
    async with database.transaction(1, Author("setup")) as connection:
        for number, uid in enumerate(uids):
            await product.register(connection, product_fields(f"p{number}"), uid=uid, at=day(0))

    async def write_batch(number: int) -> None:
        pairs = [(source, target) for source in uids for target in uids if source != target][number::2]
        states = [
            lineage_link.LinkState(AssetRef(uid=source), AssetRef(uid=target), None, _payload(number), day(1 + number))
            for source, target in (reversed(pairs) if number % 2 else pairs)
        ]
        await retry(lambda connection: lineage_link.upsert_each(connection, states))

    async def delete_and_restore(uid: UUID, number: int) -> None:
        await retry(lambda connection: asset.delete(connection, PRODUCT, uid, at=day(20 + number)))
        await retry(lambda connection: asset.restore(connection, PRODUCT, uid, at=day(30 + number)))

    async def retry(write: Write) -> None:
        for _ in range(20):
            try:
                async with database.transaction(1, Author("writer")) as connection:
                    await write(connection)
            except HeadwaterError:
                continue
            return
        raise AssertionError("every attempt failed")

    await asyncio.gather(
        *(write_batch(number) for number in range(6)), *(delete_and_restore(uid, number) for number, uid in enumerate(uids))
    )
    async with database.snapshot(1) as reader:
        assert (await verify_tenant(reader)).differences == []
        assert await lineage_link.count_links(reader, lineage_link.LinkQuery()) == len(uids) * (len(uids) - 1)


def _payload(number: int) -> dict[str, Any]:
    return {"type": "DIRECT", "transformation": None, "confidence": number / 10, "metadata": {}}

"""A link and the lives of its ends, written by several at once: whoever comes second waits, and sees what the first has done."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from db.assets import asset, product
from db.associations import lineage_link
from db.associations.association import AssetRef
from db.author import Author
from db.connection import WriteConnection
from db.database import Database
from db.errors import HeadwaterError, TransactionConflict
from db.temporal.kinds import PRODUCT
from db.temporal.verification import verify_tenant
from tests.builders import day, product_fields

WAITING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'headwater' AND wait_event_type = 'Lock'"
)

RAW, CLEAN = UUID(int=1), UUID(int=2)

Write = Callable[[WriteConnection], Awaitable[Any]]


async def say(connection: WriteConnection) -> None:
    await lineage_link.register(connection, AssetRef(uid=RAW), AssetRef(uid=CLEAN), None, {}, at=day(1))


async def say_again(connection: WriteConnection) -> None:
    await lineage_link.register(connection, AssetRef(uid=RAW), AssetRef(uid=CLEAN), None, {"confidence": 0.5}, at=day(3))


async def remove(connection: WriteConnection) -> None:
    await lineage_link.remove(connection, lineage_link.link_uid(RAW, CLEAN, None), at=day(7))


async def end_source(connection: WriteConnection) -> None:
    await asset.delete(connection, PRODUCT, RAW, at=day(5))


async def end_target(connection: WriteConnection) -> None:
    await asset.delete(connection, PRODUCT, CLEAN, at=day(6))


async def revive_source(connection: WriteConnection) -> None:
    await asset.delete(connection, PRODUCT, RAW, at=day(5))
    await asset.restore(connection, PRODUCT, RAW, at=day(8))


@pytest.mark.parametrize(
    ("before", "first", "second", "holds"),
    [
        pytest.param([], say, end_source, [(1, 5)], id="a link that is being said, and the end of its source"),
        pytest.param([], say, end_target, [(1, 6)], id="a link that is being said, and the end of its target"),
        pytest.param([], end_source, say, [(1, 5)], id="an end that is under way, and a link from before it"),
        pytest.param([], say, say_again, [(1, 3), (3, None)], id="a link that is being said twice"),
        pytest.param([say], end_source, end_target, [(1, 5)], id="both ends at once"),
        pytest.param([say], end_target, revive_source, [(1, 5)], id="one end ends, the other returns"),
        pytest.param([say], remove, end_source, [(1, 5)], id="a link that is being ended, and its source"),
        pytest.param([say], revive_source, remove, [(1, 5)], id="its source, and a link that is being ended"),
        pytest.param([say], say_again, revive_source, [(1, 3), (3, 5), (8, None)], id="a link that changes, and its source"),
    ],
)
async def test_whoever_comes_second_sees_what_the_first_has_done(
    database: Database, address: str, before: list[Write], first: Write, second: Write, holds: list[tuple[int, int | None]]
) -> None:
    async with database.transaction(1, Author("setup")) as connection:
        for uid, name in ((RAW, "raw"), (CLEAN, "clean")):
            await product.register(connection, product_fields(name), uid=uid, at=day(0))
        for write in before:
            await write(connection)

    async def later() -> None:
        async with database.transaction(1, Author("second")) as connection:
            await second(connection)

    observer = await asyncpg.connect(address)
    async with database.transaction(1, Author("first")) as connection:
        await first(connection)
        waiting = asyncio.create_task(later())
        async with asyncio.timeout(10):
            while not await observer.fetchval(WAITING):
                assert not waiting.done(), "the second did not wait"
                await asyncio.sleep(0.002)
    await waiting
    rows = await observer.fetch(
        "SELECT valid_from, NULLIF(valid_to, 'infinity') AS valid_to FROM lineage_link_effective ORDER BY valid_from"
    )
    await observer.close()
    assert [tuple(row) for row in rows] == [(day(since), None if until is None else day(until)) for since, until in holds]
    async with database.snapshot(1) as reader:
        assert (await verify_tenant(reader)).differences == []


async def test_a_name_means_what_bears_it_once_the_wait_is_over(database: Database, address: str) -> None:
    """Who waits for the bearer of a name, while it passes to another product, is not to link the one that had it."""
    other = UUID(int=3)
    async with database.transaction(1, Author("setup")) as connection:
        for uid, name in ((RAW, "raw"), (CLEAN, "clean"), (other, "other")):
            await product.register(connection, product_fields(name), uid=uid, at=day(0))

    async def later() -> UUID:
        while True:
            with suppress(TransactionConflict):
                async with database.transaction(1, Author("second")) as connection:
                    outcome = await lineage_link.register(connection, AssetRef(product="raw"), AssetRef(uid=CLEAN), None, {})
                    (row,) = await lineage_link.links_by_id(connection, [outcome.subject_id], outcome.at)
                    assert row is not None
                    return row.uid

    observer = await asyncpg.connect(address)
    async with database.transaction(1, Author("first")) as connection:
        await product.update(connection, RAW, {"name": "renamed"})
        await product.update(connection, other, {"name": "raw"})
        waiting = asyncio.create_task(later())
        async with asyncio.timeout(10):
            while not await observer.fetchval(WAITING):
                assert not waiting.done(), "the second did not wait"
                await asyncio.sleep(0.002)
    await observer.close()
    assert await waiting == lineage_link.link_uid(other, CLEAN, None)


async def test_many_who_write_the_same_links_and_ends_leave_one_history(database: Database) -> None:
    """Batches in any order of their links, and ends that come and go: none fails but by losing, and nothing is left crooked."""
    uids = [UUID(int=number) for number in range(1, 9)]
    async with database.transaction(1, Author("setup")) as connection:
        for number, uid in enumerate(uids):
            await product.register(connection, product_fields(f"p{number}"), uid=uid, at=day(0))

    async def load(number: int) -> None:
        pairs = [(source, target) for source in uids for target in uids if source != target][number::2]
        stated = [
            lineage_link.LinkState(AssetRef(uid=source), AssetRef(uid=target), None, _state(number), day(1 + number))
            for source, target in (reversed(pairs) if number % 2 else pairs)
        ]
        await tried(lambda connection: lineage_link.upsert_each(connection, stated))

    async def come_and_go(uid: UUID, number: int) -> None:
        await tried(lambda connection: asset.delete(connection, PRODUCT, uid, at=day(20 + number)))
        await tried(lambda connection: asset.restore(connection, PRODUCT, uid, at=day(30 + number)))

    async def tried(write: Write) -> None:
        for _ in range(20):
            try:
                async with database.transaction(1, Author("writer")) as connection:
                    await write(connection)
            except HeadwaterError:
                continue
            return
        raise AssertionError("it lost every time")

    await asyncio.gather(*(load(number) for number in range(6)), *(come_and_go(uid, number) for number, uid in enumerate(uids)))
    async with database.snapshot(1) as reader:
        assert (await verify_tenant(reader)).differences == []
        assert await lineage_link.count_links(reader, lineage_link.LinkQuery()) == len(uids) * (len(uids) - 1)


def _state(number: int) -> dict[str, Any]:
    return {"type": "DIRECT", "transformation": None, "confidence": number / 10, "metadata": {}}

"""Concurrent writers that name assets which do not exist: each is created once, and the second writer finds the first's."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from db.assets import entity, product
from db.assets.asset import IdentitySpec
from db.assets.entity_key import entity_uid_by_key
from db.assets.product import product_uid_by_name
from db.assets.reference import AssetRef
from db.associations import lineage_link, relationship
from db.associations.relationship import RelationshipState
from db.author import Author
from db.connection import WriteConnection
from db.database import Database
from db.registries import entity_type, relationship_type
from db.retry import retry_on_conflict
from db.temporal.verification import verify_tenant
from tests.builders import day, product_fields
from tests.db.consistency.lock_waits import wait_until_queued

OTHER = UUID(int=7)
ORDERS, SALES, TABLE = AssetRef(product="orders"), AssetRef(product="sales"), AssetRef(type="TABLE", key="lake.raw")

Write = Callable[[WriteConnection], Awaitable[Any]]

PERIODS = """
  SELECT 'PRODUCT' AS kind, uid, valid_from, NULLIF(valid_to, 'infinity') AS valid_to, domain AS state
  FROM product_version JOIN asset ON id = asset_id
  UNION ALL
  SELECT 'ENTITY', uid, valid_from, NULLIF(valid_to, 'infinity'), display_name FROM entity_version JOIN asset ON id = asset_id
  ORDER BY 1 DESC, valid_from, uid
"""


def link(source: AssetRef, target: AssetRef, at: float, producer: str | None = None) -> Write:
    return lambda it: lineage_link.register(it, source, target, producer, {}, at=day(at), create_missing=True)


def relate(at: float) -> Write:
    state = RelationshipState("storedIn", ORDERS, TABLE, {"attributes": {}}, day(at))
    return lambda connection: relationship.relate(connection, state, create_missing=True)


def register(uid: UUID | None, at: float) -> Write:
    return lambda connection: product.register(connection, product_fields("orders", domain="sales"), uid=uid, at=day(at))


def create_entity(at: float) -> Write:
    spec = IdentitySpec(type="TABLE", key="lake.raw", new_uid=entity_uid_by_key("TABLE", "lake.raw"))
    return lambda connection: entity.create(connection, spec, "Raw", {}, at=day(at))


async def rename_sales(connection: WriteConnection) -> None:
    await product.update(connection, SALES, {"name": "orders"}, at=day(4))


STUB, ENTITY = product_uid_by_name("orders"), entity_uid_by_key("TABLE", "lake.raw")
RAW = ("ENTITY", ENTITY, 3, None, "Table lake.raw")


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param(link(TABLE, ORDERS, 3), link(TABLE, ORDERS, 3, "b"), [(STUB, 3, None, "unassigned"), RAW], id="both link"),
        pytest.param(link(TABLE, ORDERS, 3), link(ORDERS, TABLE, 3), [(STUB, 3, None, "unassigned"), RAW], id="opposite links"),
        pytest.param(link(TABLE, ORDERS, 3), relate(3), [(STUB, 3, None, "unassigned"), RAW], id="link, relate"),
        pytest.param(link(TABLE, ORDERS, 5), relate(3), [(STUB, 3, None, "unassigned"), RAW], id="link, relate earlier"),
        pytest.param(register(OTHER, 3), link(SALES, ORDERS, 3), [(OTHER, 3, None, "sales")], id="register, link"),
        pytest.param(
            register(OTHER, 5), link(SALES, ORDERS, 3), [(OTHER, 3, 5, "unassigned"), (OTHER, 5, None, "sales")],
            id="register later, link",
        ),
        pytest.param(create_entity(3), link(TABLE, SALES, 3), [("ENTITY", ENTITY, 3, None, "Raw")], id="create, link"),
        pytest.param(link(TABLE, SALES, 3), create_entity(3), [("ENTITY", ENTITY, 3, None, "Raw")], id="link, create"),
        pytest.param(link(TABLE, ORDERS, 3), register(None, 3), [(STUB, 3, None, "sales"), RAW], id="link, register"),
        pytest.param(rename_sales, link(TABLE, ORDERS, 4), [("ENTITY", ENTITY, 4, None, "Table lake.raw")], id="rename, link"),
    ],
)  # fmt: skip
async def test_the_second_writer_finds_what_the_first_wrote(
    database: Database, address: str, first: Write, second: Write, expected: list[tuple[Any, ...]]
) -> None:
    await fill(database)
    await write_second_while_first(database, address, first, second)
    observer = await asyncpg.connect(address)
    rows = [tuple(row) for row in await observer.fetch(PERIODS) if row["uid"] != UUID(int=1)]
    await observer.close()
    assert rows == [
        (kind, uid, day(since), None if until is None else day(until), state)
        for kind, uid, since, until, state in (it if len(it) == 5 else ("PRODUCT", *it) for it in expected)
    ]
    async with database.snapshot(1) as connection:
        assert (await verify_tenant(connection)).differences == []


async def test_many_writers_create_the_same_ends_in_any_order(server: str, address: str) -> None:
    database = Database(address, pool_size=8)
    await fill(database)
    names = [AssetRef(product=f"p{number}") for number in range(3)] + [
        AssetRef(type="TABLE", key=f"t{number}") for number in range(3)
    ]
    pairs = [(near, far) for near in names for far in names if near != far]
    await asyncio.gather(*(write(database, link(near, far, 5 - number % 3)) for number, (near, far) in enumerate(pairs)))
    observer = await asyncpg.connect(address)
    assert await observer.fetchval("SELECT count(*) FROM asset WHERE uid <> $1", UUID(int=1)) == len(names)
    assert await observer.fetchval("SELECT count(*) FROM lineage_link_effective") == len(pairs)
    await observer.close()
    async with database.snapshot(1) as connection:
        assert (await verify_tenant(connection)).differences == []
    await database.close()


async def fill(database: Database) -> None:
    async with database.transaction(1, Author("setup")) as connection:
        await entity_type.put(connection, "TABLE", "Table", "it", None)
        ends = {"key": "storedIn", "reverse_key": "stores", "origin": "PRODUCT", "related": "TABLE"}
        await relationship_type.put(connection, **ends, cardinality="MANY_TO_MANY", on_delete="CLOSE")
        await product.register(connection, product_fields("sales"), uid=UUID(int=1), at=day(0))


async def write(database: Database, change: Write) -> None:
    """Write as the service does, again if another writer was first."""

    async def attempt() -> None:
        async with database.transaction(1, Author("second")) as connection:
            await change(connection)

    await retry_on_conflict(attempt, attempts=5, max_delay=lambda number, took: 0.1 * number)


async def write_second_while_first(database: Database, address: str, first: Write, second: Write) -> None:
    """Begin the second write when the first has been written, and commit the first once the second waits for it."""
    observer = await asyncpg.connect(address)
    async with database.transaction(1, Author("first")) as connection:
        await first(connection)
        task = asyncio.create_task(write(database, second))
        await wait_until_queued(observer, task=task)
    await observer.close()
    await task

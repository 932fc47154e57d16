"""Tests of domain scopes: credentials for some domains change nothing outside them, at no instant and by no consequence."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.assets import asset, entity, product, product_fields
from db.assets.asset import Deletion, IdentitySpec
from db.assets.entity_key import entity_uid_by_key
from db.assets.product import product_uid_by_name
from db.assets.reference import AssetRef
from db.associations import lineage_link, lineage_link_fields, reference, relationship
from db.associations.reference import LinkEnds, link_uid
from db.associations.stub import UNASSIGNED
from db.author import Author
from db.bulk import ingest
from db.connection import WriteConnection
from db.database import Database
from db.errors import BadInput, Conflict, Forbidden, HeadwaterError
from db.registries import entity_type, relationship_type
from db.temporal.kind import Kind
from db.temporal.kinds import ENTITY, PRODUCT
from db.temporal.verification import verify_tenant
from db.tenancy.scope import validate_scopes
from tests.builders import day
from tests.builders import product_fields as fields_of
from tests.databases import examples_database, prepare_now
from tests.randomness import size

Write = Callable[[WriteConnection], Awaitable[Any]]

SETUP = Author("setup", "setup")
SALES = Author("sam", "by-sam", domains=frozenset({"sales"}))

MICROSECOND = timedelta(microseconds=1)

# Products: two in sales and one in finance throughout; two that move on day 5; one in sales and one in finance, deleted on day 5.
ORDERS, STOCK, LEDGER, TO_SALES, TO_FINANCE, DELETED, DELETED_FINANCE = (UUID(int=number) for number in range(1, 8))
PRODUCTS = (ORDERS, STOCK, LEDGER, TO_SALES, TO_FINANCE, DELETED, DELETED_FINANCE)
NEW = UUID(int=20)

# Entity types in sales, in finance and in no domain, with an entity of each.
TYPES = ("SHOP", "BANK", "THING")
SHOP, BANK, THING = (entity_uid_by_key(it, "1") for it in TYPES)

TYPE_OF = dict(zip((SHOP, BANK, THING), TYPES, strict=True))

# Keys of relationship types, and what a deletion of their origin does.
RELATIONSHIPS = {"cites": "CLOSE", "holds": "RESTRICT", "takes": "CASCADE"}


def register(uid: UUID | None, name: str, domain: str, at: datetime | None = None) -> Write:
    return lambda connection: product.register(connection, fields_of(name, domain=domain), uid=uid, at=at)


def update(ref: UUID | AssetRef, at: datetime | None = None, **changes: Any) -> Write:
    return lambda connection: product.update(connection, ref, changes, at=at)


def delete(uid: UUID, at: datetime | None = None, kind: Kind = PRODUCT) -> Write:
    return lambda connection: asset.delete(connection, kind, uid, at=at)


def restore(uid: UUID, at: datetime | None = None, kind: Kind = PRODUCT) -> Write:
    return lambda connection: asset.restore(connection, kind, uid, at=at)


def create(type_: str, key: str, at: datetime | None = None) -> Write:
    ref = IdentitySpec(type=type_, key=key, new_uid=entity_uid_by_key(type_, key))
    return lambda connection: entity.create(connection, ref, f"{type_} {key}", {}, at=at)


def rename(uid: UUID, at: datetime | None = None) -> Write:
    return lambda connection: entity.update(connection, uid, {"display_name": "another"}, at=at)


def link(source: UUID, target: UUID, at: datetime | None = None, confidence: float = 1) -> Write:
    ends = AssetRef(uid=source), AssetRef(uid=target)
    return lambda connection: lineage_link.register(connection, *ends, None, {"confidence": confidence}, at=at)


def unlink(source: UUID, target: UUID, at: datetime | None = None) -> Write:
    return lambda connection: lineage_link.remove(connection, link_uid(source, target, None), at=at)


def relate(type_: str, origin: UUID, related: AssetRef, at: datetime | None = None) -> Write:
    state = relationship.RelationshipState(type_, AssetRef(uid=origin), related, {"attributes": {}}, at)
    return lambda connection: relationship.relate(connection, state)


def unrelate(key: str, origin: UUID, related: UUID, at: datetime | None = None) -> Write:
    async def remove(connection: WriteConnection) -> None:
        end = TYPE_OF.get(related, "PRODUCT")
        types = (await relationship_type.all_relationship_types(connection)).rows
        (type_,) = (it for it in types if (it.key, it.related) == (key, end))
        await relationship.unrelate(connection, reference.relationship_uid(type_, origin, related), at=at)

    return remove


def load(*batch: ingest.BatchEntry) -> Write:
    return lambda connection: ingest.ingest(connection, batch)


def missing(source: AssetRef, target: AssetRef) -> Write:
    """Register a link that creates its ends."""
    return lambda connection: lineage_link.register(connection, source, target, None, {}, create_missing=True)


def product_entry(uid: UUID, name: str, domain: str, at: datetime | None = None) -> ingest.AssetState:
    return ingest.AssetState(PRODUCT, IdentitySpec(uid), product_fields.validate_state(fields_of(name, domain=domain)), at)


def link_entry(source: UUID, target: UUID, at: datetime) -> lineage_link.LinkState:
    return lineage_link.LinkState(AssetRef(uid=source), AssetRef(uid=target), None, lineage_link_fields.validate_state({}), at)


async def run_all(connection: WriteConnection, *writes: Write) -> None:
    for write in writes:
        await write(connection)


async def write_data(connection: WriteConnection) -> None:
    source = {"service": "crm", "endpoint": "/clients", "lookup_field": "id"}
    for code, domain in zip(TYPES, ("sales", "finance", None), strict=True):
        await entity_type.put(connection, code, code.title(), domain, source)
        await create(code, "1", day(0))(connection)
    for related in ("PRODUCT", *TYPES):
        for key, on_delete in RELATIONSHIPS.items():
            ends = {"key": key, "reverse_key": f"{key}_of", "origin": "PRODUCT", "related": related}
            await relationship_type.put(connection, **ends, cardinality="MANY_TO_MANY", on_delete=on_delete)
    await run_all(
        connection,
        register(ORDERS, "orders", "sales", day(0)),
        register(STOCK, "stock", "sales", day(0)),
        register(LEDGER, "ledger", "finance", day(0)),
        register(TO_SALES, "to sales", "finance", day(0)),
        update(TO_SALES, day(5), domain="sales"),
        register(TO_FINANCE, "to finance", "sales", day(0)),
        update(TO_FINANCE, day(5), domain="finance"),
        register(DELETED, "deleted", "sales", day(0)),
        delete(DELETED, day(5)),
        register(DELETED_FINANCE, "deleted finance", "finance", day(0)),
        delete(DELETED_FINANCE, day(5)),
        link(STOCK, ORDERS, day(1)),
        link(ORDERS, LEDGER, day(1)),
        link(ORDERS, DELETED, day(1)),
        link(LEDGER, SHOP, day(1)),
        relate("cites", STOCK, AssetRef(uid=LEDGER), day(1)),
        relate("cites", LEDGER, AssetRef(uid=STOCK), day(1)),
    )


@pytest.fixture(scope="module")
def template(server: str) -> str:
    return prepare_now(server, "scope", fill)


async def fill(address: str) -> None:
    database = Database(address, pool_size=1)
    async with database.transaction(1, SETUP) as connection:
        await write_data(connection)
    await database.close()


@pytest.fixture
def mesh(database: Database) -> Database:
    return database


TABLES = (
    "product_version",
    "entity_version",
    "lineage_link_version",
    "relationship_version",
    "change",
    "asset",
    "domain",
    "lineage_link",
    "relationship",
)


async def rows(address: str) -> dict[str, list[str]]:
    """Read all rows that a write may change."""
    owner = await asyncpg.connect(address)
    try:
        return {it: [row[0] for row in await owner.fetch(f"SELECT CAST(t AS text) FROM {it} t ORDER BY 1")] for it in TABLES}
    finally:
        await owner.close()


async def attempt(database: Database, *writes: Write, author: Author = SALES) -> None:
    async with database.transaction(1, author) as connection:
        await run_all(connection, *writes)


ALLOWED: dict[str, list[Write]] = {
    "register a product": [register(NEW, "new", "sales")],
    "register a product in the past": [register(NEW, "new", "sales", day(-9))],
    "update a product": [update(ORDERS, owner="bob")],
    "update a product by its name": [update(AssetRef(product="orders"), owner="bob")],
    "update a product in the past": [update(ORDERS, day(2), owner="bob")],
    "load a product before its creation": [lambda it: ingest.ingest(it, [product_entry(ORDERS, "orders", "sales", day(-9))])],
    "update a product at the instant at which it moved in": [update(TO_SALES, day(5), owner="bob")],
    "update a product after it moved in": [update(TO_SALES, day(7), owner="bob")],
    "delete a product": [delete(ORDERS, day(2))],
    "delete a product after it moved in": [delete(TO_SALES, day(7))],
    "restore a product": [restore(DELETED)],
    "register a deleted product again": [register(DELETED, "deleted before", "sales", day(8))],
    "delete and restore a product": [delete(ORDERS), restore(ORDERS)],
    "create an entity": [create("SHOP", "2")],
    "rename, delete and restore an entity": [rename(SHOP), delete(SHOP, kind=ENTITY), restore(SHOP, kind=ENTITY)],
    "link from outside": [link(LEDGER, ORDERS)],
    "link to an entity from outside": [link(BANK, SHOP)],
    "link to a product since it moved in": [link(LEDGER, TO_SALES, day(5))],
    "remove a link": [unlink(STOCK, ORDERS)],
    "remove a link whose target is deleted": [unlink(ORDERS, DELETED, day(2))],
    "remove a link to an entity": [unlink(LEDGER, SHOP)],
    "load a link before its target exists": [load(link_entry(LEDGER, ORDERS, day(-5)))],
    "relate a product to one outside": [relate("cites", ORDERS, AssetRef(uid=LEDGER))],
    "relate a product to a stub": [relate("cites", ORDERS, AssetRef(type="SHOP", key="9"))],
    "remove a relationship": [unrelate("cites", STOCK, LEDGER)],
    "delete a product with a cascade inside": [relate("takes", ORDERS, AssetRef(uid=STOCK)), delete(ORDERS)],
    "link an entity that it creates": [missing(AssetRef(type="BANK", key="1"), AssetRef(type="SHOP", key="new"))],
    "load a deletion by name": [load(ingest.NamedDeletion(AssetRef(product="orders")))],
    "load a deletion by ends": [load(ingest.NamedDeletion(LinkEnds(AssetRef(uid=LEDGER), AssetRef(type="SHOP", key="1"))))],
    "load a batch": [load(product_entry(NEW, "new", "sales"), product_entry(ORDERS, "orders too", "sales"), Deletion(STOCK))],
}


@pytest.mark.parametrize("writes", ALLOWED.values(), ids=ALLOWED)
async def test_write_within_the_domain_is_allowed(mesh: Database, writes: list[Write]) -> None:
    await attempt(mesh, *writes)
    async with mesh.snapshot(1) as connection:
        assert (await verify_tenant(connection)).differences == []


REFUSED: dict[str, list[Write]] = {
    "register a product outside": [register(NEW, "new", "finance")],
    "register a product in a domain of similar name": [register(NEW, "new", "Sales")],
    "update a product outside": [update(LEDGER, owner="sam")],
    "update a product outside by its name": [update(AssetRef(product="ledger"), owner="sam")],
    "update a product outside without effect": [update(LEDGER, owner="ann")],
    "move a product in": [update(LEDGER, domain="sales")],
    "load a product from outside into the domain": [load(product_entry(LEDGER, "ledger", "sales"))],
    "move a product in, in the past": [update(LEDGER, day(1), domain="sales")],
    "load a product from outside before its creation": [load(product_entry(LEDGER, "ledger", "sales", day(-9)))],
    "move a product out": [update(ORDERS, domain="finance")],
    "move a product out and in": [update(ORDERS, domain="finance"), update(ORDERS, domain="sales")],
    "update a product when it was outside": [update(TO_SALES, day(3), owner="sam")],
    "update a product a microsecond before it moved in": [update(TO_SALES, day(5) - MICROSECOND, owner="sam")],
    "undo that a product moved in": [update(TO_SALES, day(5), domain="finance")],
    "delete a product at the instant at which it moved in": [delete(TO_SALES, day(5))],
    "load a product before it moved in": [load(product_entry(TO_SALES, "to sales", "sales", day(-1)))],
    "update a product before it moves out": [update(TO_FINANCE, day(2), owner="sam")],
    "undo that a product moves out": [update(TO_FINANCE, day(5), domain="sales")],
    "delete a product before it moves out": [delete(TO_FINANCE, day(2))],
    "delete a product outside": [delete(LEDGER)],
    "load a deletion of a product outside before its creation": [load(Deletion(LEDGER, day(-1)))],
    "restore a product outside": [restore(DELETED_FINANCE)],
    "register a deleted product from outside": [register(DELETED_FINANCE, "mine", "sales", day(8))],
    "load a deleted product from outside": [load(product_entry(DELETED_FINANCE, "mine", "sales"))],
    "register a deleted product from outside before its creation": [register(DELETED_FINANCE, "mine", "sales", day(-9))],
    "load a deleted product from outside for a time before its creation": [
        load(product_entry(DELETED_FINANCE, "mine", "sales", day(-9)), Deletion(DELETED_FINANCE, day(-8)))
    ],
    "delete a deleted product outside": [delete(DELETED_FINANCE)],
    "delete a deleted product outside earlier": [delete(DELETED_FINANCE, day(4))],
    "create an entity outside": [create("BANK", "2")],
    "create an entity in no domain": [create("THING", "2")],
    "rename an entity outside": [rename(BANK)],
    "delete an entity outside": [delete(BANK, kind=ENTITY)],
    "rename an entity in no domain": [rename(THING)],
    "delete an entity in no domain": [delete(THING, kind=ENTITY)],
    "link to a product outside": [link(ORDERS, LEDGER, confidence=0.1)],
    "link to a product outside since its creation": [link(STOCK, LEDGER, day(0))],
    "link to an entity outside": [link(SHOP, BANK)],
    "link to an entity in no domain": [link(SHOP, THING)],
    "link to a product that was outside then": [link(ORDERS, TO_SALES, day(3))],
    "link to a product that moves out later": [link(ORDERS, TO_FINANCE, day(3))],
    "load a link to a product deleted outside": [load(link_entry(ORDERS, DELETED_FINANCE, day(8)))],
    "remove a link outside": [unlink(ORDERS, LEDGER)],
    "load a deletion of a link outside": [load(Deletion(link_uid(ORDERS, LEDGER, None)))],
    "relate a product outside to one inside": [relate("cites", LEDGER, AssetRef(uid=ORDERS))],
    "remove a relationship of a product outside": [unrelate("cites", LEDGER, STOCK)],
    "relate a product to a stub outside": [relate("cites", ORDERS, AssetRef(type="BANK", key="9"))],
    "relate a product to a stub in no domain": [relate("cites", ORDERS, AssetRef(type="THING", key="9"))],
    "delete a product with a cascade outside": [relate("takes", ORDERS, AssetRef(uid=LEDGER)), delete(ORDERS)],
    "delete a product with a cascade outside at the second step": [
        relate("takes", ORDERS, AssetRef(uid=STOCK)),
        relate("takes", STOCK, AssetRef(uid=BANK)),
        delete(ORDERS),
    ],
    "link an entity outside that it creates": [missing(AssetRef(type="BANK", key="new"), AssetRef(product="orders"))],
    "link an entity in no domain that it creates": [missing(AssetRef(type="THING", key="new"), AssetRef(product="orders"))],
    "link a product that it creates": [missing(AssetRef(product="new"), AssetRef(product="orders"))],
    "link to a product that it creates": [missing(AssetRef(product="orders"), AssetRef(product="new"))],
    "load a deletion by a name outside": [load(ingest.NamedDeletion(AssetRef(product="ledger")))],
    "load a deletion by ends outside": [load(ingest.NamedDeletion(LinkEnds(AssetRef(uid=ORDERS), AssetRef(product="ledger"))))],
    "load a batch of which one is outside": [load(product_entry(NEW, "new", "sales"), product_entry(LEDGER, "ledger", "sales"))],
}  # fmt: skip


@pytest.mark.parametrize("writes", REFUSED.values(), ids=REFUSED)
async def test_write_outside_the_domain_is_refused(mesh: Database, address: str, writes: list[Write]) -> None:
    before = await rows(address)
    with pytest.raises(Forbidden, match="these credentials may write in sales only"):
        await attempt(mesh, *writes)
    assert await rows(address) == before


async def test_author_without_domains_writes_nothing_and_author_of_all_domains_everything(mesh: Database) -> None:
    for writes in ALLOWED.values():
        with pytest.raises(Forbidden):
            await attempt(mesh, *writes, author=Author("none", domains=frozenset()))
    refused = []
    for name, writes in REFUSED.items():
        with contextlib.suppress(_Rollback):
            try:
                await attempt(mesh, *writes, _roll_back)
            except Forbidden:
                refused.append(name)
        with contextlib.suppress(_Rollback, Conflict):
            await attempt(mesh, *writes, _roll_back, author=Author("ann"))
    assert refused == list(REFUSED)


class _Rollback(Exception):
    """Rolls back a transaction."""


async def _roll_back(_: WriteConnection) -> None:
    raise _Rollback


async def test_author_of_several_domains_may_move_products_between_them(mesh: Database) -> None:
    several = Author("sue", domains=frozenset({"sales", "finance"}))
    moves = [update(ORDERS, domain="finance"), update(LEDGER, domain="sales"), delete(TO_SALES, day(5)), restore(DELETED_FINANCE)]
    await attempt(mesh, *moves, link(STOCK, LEDGER), author=several)
    with pytest.raises(Forbidden, match="is in no domain, but these credentials may write in finance, sales only"):
        await attempt(mesh, rename(THING), author=several)


async def test_stub_product_needs_the_domain_of_products_that_nobody_registered(mesh: Database) -> None:
    write = missing(AssetRef(product="new"), AssetRef(product="orders"))
    await attempt(mesh, write, author=Author("una", domains=frozenset({"sales", UNASSIGNED})))
    with pytest.raises(Forbidden, match="these credentials may write in sales only"):
        await attempt(mesh, register(product_uid_by_name("new"), "new", "sales"))
    async with mesh.snapshot(1) as connection:
        assert (await verify_tenant(connection)).differences == []


async def test_deletion_clips_links_of_others_and_restoration_brings_them_back(mesh: Database, address: str) -> None:
    async def current_links() -> list[Any]:
        owner = await asyncpg.connect(address)
        try:
            return list(await owner.fetch("SELECT * FROM lineage_link_effective WHERE valid_to = 'infinity' ORDER BY link_id"))
        finally:
            await owner.close()

    before = await rows(address)
    links = await current_links()
    await attempt(mesh, delete(ORDERS))
    assert len(await current_links()) < len(links)
    after = await rows(address)
    # The asserted versions are unchanged.
    assert [after[it] for it in ("lineage_link_version", "relationship_version")] == [
        before[it] for it in ("lineage_link_version", "relationship_version")
    ]
    await attempt(mesh, restore(ORDERS))
    assert len(await current_links()) == len(links)


async def test_name_of_a_product_outside_cannot_be_taken(mesh: Database) -> None:
    for at in (None, day(2), day(-3)):
        with pytest.raises(Conflict):
            await attempt(mesh, register(NEW, "ledger", "sales", at))
    with pytest.raises(Conflict):
        await attempt(mesh, update(ORDERS, name="ledger"))


async def test_product_that_moves_out_concurrently_is_not_written(mesh: Database) -> None:
    moved, may_commit = asyncio.Event(), asyncio.Event()

    async def move_out() -> None:
        async with mesh.transaction(1, SETUP) as connection:
            await update(ORDERS, domain="finance")(connection)
            moved.set()
            await may_commit.wait()

    moving = asyncio.create_task(move_out())
    await moved.wait()
    writing = asyncio.create_task(attempt(mesh, update(ORDERS, owner="sam")))
    await asyncio.sleep(0)
    may_commit.set()
    await moving
    with pytest.raises(Forbidden, match="in the domain finance"):
        await writing


def test_unknown_scopes_and_invalid_domains_are_refused() -> None:
    assert validate_scopes(["read", "write:sales", "read", "write:Order desk"]) == ["read", "write:sales", "write:Order desk"]
    for scopes in (
        [],
        ["root"],
        ["domain"],
        ["schema"],
        ["self"],
        ["Write"],
        ["write:"],
        ["write: x"],
        ["write:a\0b"],
        ["read\n"],
    ):
        with pytest.raises(BadInput) as refused:
            validate_scopes(scopes)
        assert refused.value.field == "scopes"


class Step(NamedTuple):
    """A random write."""

    operation: str
    first: int
    second: int
    day: int | None
    domain: str


_steps = st.builds(
    Step,
    st.sampled_from(
        ["register", "update", "move", "delete", "restore", "load", "create", "rename", "link", "unlink", "relate", "unrelate"]
    ),
    st.integers(0, 9),
    st.integers(0, 9),
    st.sampled_from([None, -1, 0, 2, 5, 6, 8]),
    st.sampled_from(["sales", "sales", "finance"]),
)
_ASSETS = (*PRODUCTS, SHOP, BANK, THING)


def write_of(step: Step) -> Write:
    at = None if step.day is None else day(step.day)
    first, second = _ASSETS[step.first], _ASSETS[step.second]
    kind = PRODUCT if first in PRODUCTS else ENTITY
    key = sorted(RELATIONSHIPS)[step.second % 3]
    product_uid = PRODUCTS[step.first % len(PRODUCTS)]
    return {
        "register": register(product_uid, f"name {step.second}", step.domain, at),
        "update": update(product_uid, at, owner=f"owner {step.second}"),
        "move": update(product_uid, at, domain=step.domain),
        "delete": delete(first, at, kind),
        "restore": restore(first, at, kind),
        "load": load(product_entry(product_uid, f"name {step.first}", step.domain, at), Deletion(second, at)),
        "create": create(TYPES[step.first % 3], str(step.second % 3), at),
        "rename": rename(_ASSETS[len(PRODUCTS) + step.first % 3], at),
        "link": link(first, second, at, confidence=step.first / 10),
        "unlink": unlink(first, second, at),
        "relate": relate(key, product_uid, AssetRef(uid=second), at),
        "unrelate": unrelate(key, product_uid, second, at),
    }[step.operation]


# All versions outside sales: of products, of entities by their type, of links by their target and of relationships by their
# origin, for the time in which these are outside.
OUTSIDE = """
  WITH outside AS (
    SELECT asset_id, valid_from, valid_to FROM product_version WHERE domain <> 'sales'
    UNION ALL
    SELECT id, '-infinity', 'infinity' FROM asset a WHERE kind = 'ENTITY'
      AND EXISTS (SELECT FROM entity_type t WHERE t.code = a.type AND t.domain IS DISTINCT FROM 'sales')
  ),
  association AS (
    SELECT 'link' AS kind, i.target_id AS asset_id, i.uid, v.valid_from, v.valid_to, CAST(v.confidence AS text) AS state
    FROM lineage_link_version v
    JOIN lineage_link i ON i.id = v.link_id
    UNION ALL
    SELECT 'relationship', i.origin_id, i.uid, v.valid_from, v.valid_to, CAST(v.attributes AS text)
    FROM relationship_version v
    JOIN relationship i ON i.id = v.relationship_id
  )
  SELECT 'product', CAST(v AS text) FROM product_version v WHERE domain <> 'sales'
  UNION ALL
  SELECT 'entity', CAST(v AS text) FROM entity_version v JOIN outside o USING (asset_id)
  UNION ALL
  SELECT b.kind, concat(b.uid, b.state, greatest(b.valid_from, o.valid_from), least(b.valid_to, o.valid_to))
  FROM association b
  JOIN outside o ON o.asset_id = b.asset_id AND o.valid_from < b.valid_to AND o.valid_to > b.valid_from
  ORDER BY 1, 2
"""


@pytest.fixture(scope="module")
def harness(server: str, template: str) -> Iterator[tuple[asyncio.Runner, Database, asyncpg.Connection]]:
    with examples_database(server, template) as address, asyncio.Runner() as runner:
        database = Database(address, pool_size=2)
        owner = runner.run(asyncpg.connect(address))
        yield runner, database, owner
        runner.run(owner.close())
        runner.run(database.close())


async def run_steps(database: Database, author: Author, steps: list[Step]) -> tuple[int, list[Any], list[Any]]:
    """Try each write, and roll back. Return how many succeeded, and the rows outside sales before and after."""
    succeeded, before, after = 0, [], []
    with contextlib.suppress(_Rollback):
        async with database.transaction(1, SETUP) as connection:
            before = await read_outside(connection)
            connection.author = author
            for step in steps:
                with contextlib.suppress(HeadwaterError):
                    async with _savepoint(connection):
                        await write_of(step)(connection)
                        succeeded += 1
            after = await read_outside(connection)
            raise _Rollback
    return succeeded, before, after


@contextlib.asynccontextmanager
async def _savepoint(connection: WriteConnection) -> Any:
    """Roll back to the start of the block if it raises any error, as the savepoints of the service do for conflicts."""
    await connection._driver.execute("SAVEPOINT attempt")
    try:
        yield
    except HeadwaterError:
        await connection._driver.execute("ROLLBACK TO SAVEPOINT attempt; RELEASE SAVEPOINT attempt")
        connection.failure = None
        raise
    await connection._driver.execute("RELEASE SAVEPOINT attempt")


@pytest.mark.random
@given(st.lists(_steps, min_size=1, max_size=8))
@settings(max_examples=size(quick=60, soak=300), suppress_health_check=list(HealthCheck))
def test_random_writes_within_a_domain_change_nothing_outside(
    harness: tuple[asyncio.Runner, Database, asyncpg.Connection], steps: list[Step]
) -> None:
    runner, database, _ = harness
    _, before, after = runner.run(run_steps(database, SALES, steps))
    assert before
    assert after == before


async def read_outside(connection: WriteConnection) -> list[Any]:
    return [tuple(row) for row in await connection._driver.fetch(OUTSIDE)]


def test_same_writes_without_domains_change_rows_outside(
    harness: tuple[asyncio.Runner, Database, asyncpg.Connection],
) -> None:
    runner, database, _ = harness
    for step in (
        Step("update", 2, 1, None, "sales"),
        Step("delete", 8, 0, 2, "sales"),
        Step("link", 0, 2, None, "sales"),
        Step("relate", 2, 0, 2, "sales"),
    ):
        succeeded, before, after = runner.run(run_steps(database, Author("ann"), [step]))
        assert succeeded == 1
        assert before != after, step

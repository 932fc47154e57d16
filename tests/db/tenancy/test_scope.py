"""Who may write in some domains changes nothing outside of them: not now, not in the past, not by what follows of a write."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.assets import asset, entity, product, product_fields
from db.assets.asset import Deletion, IdentitySpec
from db.assets.entity import entity_uid_by_key
from db.associations import lineage_link, lineage_link_fields, relationship
from db.associations.association import AssetRef
from db.associations.lineage_link import link_uid
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
from tests.databases import prepare_now, shared_database
from tests.randomness import size

Write = Callable[[WriteConnection], Awaitable[Any]]

SETUP = Author("setup", "setup")
SALES = Author("sam", "by-sam", domains=frozenset({"sales"}))

MICROSECOND = timedelta(microseconds=1)

# In sales and in finance all along; from the fifth day in the other; ended on the fifth day.
ORDERS, STOCK, LEDGER, TO_SALES, TO_FINANCE, OVER, CLOSED = (UUID(int=number) for number in range(1, 8))
PRODUCTS = (ORDERS, STOCK, LEDGER, TO_SALES, TO_FINANCE, OVER, CLOSED)
NEW = UUID(int=20)

# Types in sales, in finance and in no domain, with an entity each.
TYPES = ("SHOP", "BANK", "THING")
SHOP, BANK, THING = (entity_uid_by_key(it, "1") for it in TYPES)

RELATED = dict(zip((SHOP, BANK, THING), TYPES, strict=True))

# How things are joined: what a deletion does is the last word.
JOINS = {"cites": "CLOSE", "holds": "RESTRICT", "takes": "CASCADE"}


def registered(uid: UUID | None, name: str, domain: str, at: datetime | None = None) -> Write:
    return lambda connection: product.register(connection, fields_of(name, domain=domain), uid=uid, at=at)


def updated(ref: UUID | str, at: datetime | None = None, **changes: Any) -> Write:
    return lambda connection: product.update(connection, ref, changes, at=at)


def ended(uid: UUID, at: datetime | None = None, kind: Kind = PRODUCT) -> Write:
    return lambda connection: asset.delete(connection, kind, uid, at=at)


def revived(uid: UUID, at: datetime | None = None, kind: Kind = PRODUCT) -> Write:
    return lambda connection: asset.restore(connection, kind, uid, at=at)


def created(type_: str, key: str, at: datetime | None = None) -> Write:
    ref = IdentitySpec(type=type_, key=key, new_uid=entity_uid_by_key(type_, key))
    return lambda connection: entity.create(connection, ref, f"{type_} {key}", {}, at=at)


def renamed(uid: UUID, at: datetime | None = None) -> Write:
    return lambda connection: entity.update(connection, uid, {"display_name": "another"}, at=at)


def linked(source: UUID, target: UUID, at: datetime | None = None, confidence: float = 1) -> Write:
    ends = AssetRef(uid=source), AssetRef(uid=target)
    return lambda connection: lineage_link.register(connection, *ends, None, {"confidence": confidence}, at=at)


def unlinked(source: UUID, target: UUID, at: datetime | None = None) -> Write:
    return lambda connection: lineage_link.remove(connection, link_uid(source, target, None), at=at)


def joined(type_: str, origin: UUID, related: AssetRef, at: datetime | None = None) -> Write:
    stated = relationship.RelationshipState(type_, AssetRef(uid=origin), related, {"attributes": {}}, at)
    return lambda connection: relationship.relate(connection, stated)


def unjoined(key: str, origin: UUID, related: UUID, at: datetime | None = None) -> Write:
    async def unjoin(connection: WriteConnection) -> None:
        end = RELATED.get(related, "PRODUCT")
        types = (await relationship_type.all_relationship_types(connection)).rows
        (type_,) = (it for it in types if (it.key, it.related) == (key, end))
        await relationship.unrelate(connection, relationship.relationship_uid(type_, origin, related), at=at)

    return unjoin


def loaded(*batch: ingest.BatchEntry) -> Write:
    return lambda connection: ingest.ingest(connection, batch)


def stated(uid: UUID, name: str, domain: str, at: datetime | None = None) -> ingest.AssetState:
    return ingest.AssetState(PRODUCT, IdentitySpec(uid), product_fields.validate_state(fields_of(name, domain=domain)), at)


def linked_early(source: UUID, target: UUID, at: datetime) -> lineage_link.LinkState:
    return lineage_link.LinkState(AssetRef(uid=source), AssetRef(uid=target), None, lineage_link_fields.validate_state({}), at)


async def both(connection: WriteConnection, *writes: Write) -> None:
    for it in writes:
        await it(connection)


async def furnish(connection: WriteConnection) -> None:
    source = {"service": "crm", "endpoint": "/clients", "lookup_field": "id"}
    for code, domain in zip(TYPES, ("sales", "finance", None), strict=True):
        await entity_type.put(connection, code, code.title(), domain, source)
        await created(code, "1", day(0))(connection)
    for related in ("PRODUCT", *TYPES):
        for key, on_delete in JOINS.items():
            given = {"key": key, "reverse_key": f"{key}_of", "origin": "PRODUCT", "related": related}
            await relationship_type.put(connection, **given, cardinality="MANY_TO_MANY", on_delete=on_delete)
    await both(
        connection,
        registered(ORDERS, "orders", "sales", day(0)),
        registered(STOCK, "stock", "sales", day(0)),
        registered(LEDGER, "ledger", "finance", day(0)),
        registered(TO_SALES, "to sales", "finance", day(0)),
        updated(TO_SALES, day(5), domain="sales"),
        registered(TO_FINANCE, "to finance", "sales", day(0)),
        updated(TO_FINANCE, day(5), domain="finance"),
        registered(OVER, "over", "sales", day(0)),
        ended(OVER, day(5)),
        registered(CLOSED, "closed", "finance", day(0)),
        ended(CLOSED, day(5)),
        linked(STOCK, ORDERS, day(1)),
        linked(ORDERS, LEDGER, day(1)),
        linked(ORDERS, OVER, day(1)),
        linked(LEDGER, SHOP, day(1)),
        joined("cites", STOCK, AssetRef(uid=LEDGER), day(1)),
        joined("cites", LEDGER, AssetRef(uid=STOCK), day(1)),
    )


@pytest.fixture(scope="module")
def template(server: str) -> str:
    return prepare_now(server, "scope", fill)


async def fill(address: str) -> None:
    database = Database(address, pool_size=1)
    async with database.transaction(1, SETUP) as connection:
        await furnish(connection)
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
    """All that a write may touch."""
    owner = await asyncpg.connect(address)
    try:
        return {it: [row[0] for row in await owner.fetch(f"SELECT CAST(t AS text) FROM {it} t ORDER BY 1")] for it in TABLES}
    finally:
        await owner.close()


async def attempt(database: Database, *writes: Write, author: Author = SALES) -> None:
    async with database.transaction(1, author) as connection:
        await both(connection, *writes)


KEPT: dict[str, list[Write]] = {
    "a product is registered in the domain": [registered(NEW, "new", "sales")],
    "late": [registered(NEW, "new", "sales", day(-9))],
    "it is changed": [updated(ORDERS, owner="bob")],
    "by its name": [updated("orders", owner="bob")],
    "late ": [updated(ORDERS, day(2), owner="bob")],
    "before it began": [lambda it: ingest.ingest(it, [stated(ORDERS, "orders", "sales", day(-9))])],
    "from the very instant at which it came into the domain": [updated(TO_SALES, day(5), owner="bob")],
    "after it came": [updated(TO_SALES, day(7), owner="bob")],
    "it is ended": [ended(ORDERS, day(2))],
    "and after it came": [ended(TO_SALES, day(7))],
    "it returns": [revived(OVER)],
    "it is registered again": [registered(OVER, "over again", "sales", day(8))],
    "it ends and returns": [ended(ORDERS), revived(ORDERS)],
    "an entity of a type of the domain is created": [created("SHOP", "2")],
    "and changed, ended, brought back": [renamed(SHOP), ended(SHOP, kind=ENTITY), revived(SHOP, kind=ENTITY)],
    "something outside feeds something within": [linked(LEDGER, ORDERS)],
    "an entity within": [linked(BANK, SHOP)],
    "since it came": [linked(LEDGER, TO_SALES, day(5))],
    "that ends": [unlinked(STOCK, ORDERS)],
    "that ends though its target has ended before": [unlinked(ORDERS, OVER, day(2))],
    "that ends at an entity": [unlinked(LEDGER, SHOP)],
    "before its target is there, in bulk": [loaded(linked_early(LEDGER, ORDERS, day(-5)))],
    "something within is joined with something outside": [joined("cites", ORDERS, AssetRef(uid=LEDGER))],
    "with something that is only named": [joined("cites", ORDERS, AssetRef(type="SHOP", key="9"))],
    "that join ends": [unjoined("cites", STOCK, LEDGER)],
    "what is joined falls with it, within": [joined("takes", ORDERS, AssetRef(uid=STOCK)), ended(ORDERS)],
    "a batch": [loaded(stated(NEW, "new", "sales"), stated(ORDERS, "orders too", "sales"), Deletion(STOCK))],
}


@pytest.mark.parametrize("writes", KEPT.values(), ids=KEPT)
async def test_within_the_domain_it_is_written(mesh: Database, writes: list[Write]) -> None:
    await attempt(mesh, *writes)
    async with mesh.snapshot(1) as connection:
        assert (await verify_tenant(connection)).differences == []


REFUSED: dict[str, list[Write]] = {
    "a product is registered elsewhere": [registered(NEW, "new", "finance")],
    "nowhere near": [registered(NEW, "new", "Sales")],
    "what is elsewhere is changed": [updated(LEDGER, owner="sam")],
    "by its name": [updated("ledger", owner="sam")],
    "so that nothing changes": [updated(LEDGER, owner="ann")],
    "what is elsewhere is taken": [updated(LEDGER, domain="sales")],
    "and is stated, whole": [loaded(stated(LEDGER, "ledger", "sales"))],
    "late": [updated(LEDGER, day(1), domain="sales")],
    "before it began": [loaded(stated(LEDGER, "ledger", "sales", day(-9)))],
    "something is put elsewhere": [updated(ORDERS, domain="finance")],
    "and brought back again": [updated(ORDERS, domain="finance"), updated(ORDERS, domain="sales")],
    "when it was elsewhere": [updated(TO_SALES, day(3), owner="sam")],
    "to the last": [updated(TO_SALES, day(5) - MICROSECOND, owner="sam")],
    "what came into the domain is said not to have come": [updated(TO_SALES, day(5), domain="finance")],
    "but to have ended": [ended(TO_SALES, day(5))],
    "what it was before it came": [loaded(stated(TO_SALES, "to sales", "sales", day(-1)))],
    "what is to go elsewhere, before that": [updated(TO_FINANCE, day(2), owner="sam")],
    "what is to go elsewhere is held": [updated(TO_FINANCE, day(5), domain="sales")],
    "or ended before": [ended(TO_FINANCE, day(2))],
    "what is elsewhere is ended": [ended(LEDGER)],
    "what is elsewhere is ended before it began": [loaded(Deletion(LEDGER, day(-1)))],
    "what ended elsewhere returns": [revived(CLOSED)],
    "its identity is taken": [registered(CLOSED, "mine", "sales", day(8))],
    "its identity is taken in bulk": [loaded(stated(CLOSED, "mine", "sales"))],
    "its identity is taken before it was there": [registered(CLOSED, "mine", "sales", day(-9))],
    "its identity is taken for a while before": [loaded(stated(CLOSED, "mine", "sales", day(-9)), Deletion(CLOSED, day(-8)))],
    "it is ended again": [ended(CLOSED)],
    "and earlier": [ended(CLOSED, day(4))],
    "an entity of a type elsewhere is created": [created("BANK", "2")],
    "an entity of a type that is nowhere is created": [created("THING", "2")],
    "an entity elsewhere is changed": [renamed(BANK)],
    "an entity elsewhere is ended": [ended(BANK, kind=ENTITY)],
    "an entity that is nowhere is changed": [renamed(THING)],
    "an entity that is nowhere is ended": [ended(THING, kind=ENTITY)],
    "something within feeds something outside": [linked(ORDERS, LEDGER, confidence=0.1)],
    "from the beginning": [linked(STOCK, LEDGER, day(0))],
    "an entity outside": [linked(SHOP, BANK)],
    "an entity nowhere": [linked(SHOP, THING)],
    "what was outside then": [linked(ORDERS, TO_SALES, day(3))],
    "what goes outside": [linked(ORDERS, TO_FINANCE, day(3))],
    "what ended outside": [loaded(linked_early(ORDERS, CLOSED, day(8)))],
    "a link outside ends": [unlinked(ORDERS, LEDGER)],
    "a link outside ends in bulk": [loaded(Deletion(link_uid(ORDERS, LEDGER, None)))],
    "something outside is joined with something within": [joined("cites", LEDGER, AssetRef(uid=ORDERS))],
    "that join ends": [unjoined("cites", LEDGER, STOCK)],
    "something is named that would be outside": [joined("cites", ORDERS, AssetRef(type="BANK", key="9"))],
    "something is named that would be nowhere": [joined("cites", ORDERS, AssetRef(type="THING", key="9"))],
    "what is joined falls with it, outside": [joined("takes", ORDERS, AssetRef(uid=LEDGER)), ended(ORDERS)],
    "at the second step": [
        joined("takes", ORDERS, AssetRef(uid=STOCK)),
        joined("takes", STOCK, AssetRef(uid=BANK)),
        ended(ORDERS),
    ],
    "one of a batch is outside": [loaded(stated(NEW, "new", "sales"), stated(LEDGER, "ledger", "sales"))],
}  # fmt: skip


@pytest.mark.parametrize("writes", REFUSED.values(), ids=REFUSED)
async def test_outside_of_the_domain_nothing_is_written(mesh: Database, address: str, writes: list[Write]) -> None:
    before = await rows(address)
    with pytest.raises(Forbidden, match="these credentials may write in sales only"):
        await attempt(mesh, *writes)
    assert await rows(address) == before


async def test_whoever_may_write_nowhere_writes_nothing_and_who_may_anywhere_all_of_it(mesh: Database) -> None:
    for writes in KEPT.values():
        with pytest.raises(Forbidden):
            await attempt(mesh, *writes, author=Author("nobody", domains=frozenset()))
    refused = []
    for name, writes in REFUSED.items():
        with contextlib.suppress(_Enough):
            try:
                await attempt(mesh, *writes, _enough)
            except Forbidden:
                refused.append(name)
        with contextlib.suppress(_Enough, Conflict):
            await attempt(mesh, *writes, _enough, author=Author("ann"))
    assert refused == list(REFUSED)


class _Enough(Exception):
    """Rolls back what was tried."""


async def _enough(_: WriteConnection) -> None:
    raise _Enough


async def test_of_several_domains_what_is_in_each_is_written_and_moves_between_them(mesh: Database) -> None:
    several = Author("sue", domains=frozenset({"sales", "finance"}))
    moves = [updated(ORDERS, domain="finance"), updated(LEDGER, domain="sales"), ended(TO_SALES, day(5)), revived(CLOSED)]
    await attempt(mesh, *moves, linked(STOCK, LEDGER), author=several)
    with pytest.raises(Forbidden, match="is in no domain, but these credentials may write in finance, sales only"):
        await attempt(mesh, renamed(THING), author=several)


async def test_what_of_others_hangs_on_a_product_ends_with_it_and_returns(mesh: Database, address: str) -> None:
    async def hanging() -> list[Any]:
        owner = await asyncpg.connect(address)
        try:
            return list(await owner.fetch("SELECT * FROM lineage_link_effective WHERE valid_to = 'infinity' ORDER BY link_id"))
        finally:
            await owner.close()

    before = await rows(address)
    links = await hanging()
    await attempt(mesh, ended(ORDERS))
    assert len(await hanging()) < len(links)
    after = await rows(address)
    # what was said of them is untouched
    assert [after[it] for it in ("lineage_link_version", "relationship_version")] == [
        before[it] for it in ("lineage_link_version", "relationship_version")
    ]
    await attempt(mesh, revived(ORDERS))
    assert len(await hanging()) == len(links)


async def test_no_name_is_taken_from_a_product_elsewhere(mesh: Database) -> None:
    for at in (None, day(2), day(-3)):
        with pytest.raises(Conflict):
            await attempt(mesh, registered(NEW, "ledger", "sales", at))
    with pytest.raises(Conflict):
        await attempt(mesh, updated(ORDERS, name="ledger"))


async def test_a_product_that_leaves_while_it_is_written_is_not_written(mesh: Database) -> None:
    left = asyncio.Event()
    go_on = asyncio.Event()

    async def leave() -> None:
        async with mesh.transaction(1, SETUP) as connection:
            await updated(ORDERS, domain="finance")(connection)
            left.set()
            await go_on.wait()

    leaving = asyncio.create_task(leave())
    await left.wait()
    writing = asyncio.create_task(attempt(mesh, updated(ORDERS, owner="sam")))
    await asyncio.sleep(0)
    go_on.set()
    await leaving
    with pytest.raises(Forbidden, match="in the domain finance"):
        await writing


def test_scopes_are_those_there_are_and_domains_are_named() -> None:
    assert validate_scopes(["read", "write:sales", "read", "write:Order desk"]) == ["read", "write:sales", "write:Order desk"]
    for wrong in (
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
            validate_scopes(wrong)
        assert refused.value.field == "scopes"


class Step(NamedTuple):
    """Something that is tried."""

    what: str
    one: int
    other: int
    day: int | None
    domain: str


_steps = st.builds(
    Step,
    st.sampled_from(
        ["register", "update", "move", "end", "revive", "load", "create", "rename", "link", "unlink", "join", "unjoin"]
    ),
    st.integers(0, 9),
    st.integers(0, 9),
    st.sampled_from([None, -1, 0, 2, 5, 6, 8]),
    st.sampled_from(["sales", "sales", "finance"]),
)
_ASSETS = (*PRODUCTS, SHOP, BANK, THING)


def written(step: Step) -> Write:
    at = None if step.day is None else day(step.day)
    one, other = _ASSETS[step.one], _ASSETS[step.other]
    kind = PRODUCT if one in PRODUCTS else ENTITY
    joins = sorted(JOINS)[step.other % 3]
    some = PRODUCTS[step.one % len(PRODUCTS)]
    return {
        "register": registered(some, f"name {step.other}", step.domain, at),
        "update": updated(some, at, owner=f"owner {step.other}"),
        "move": updated(some, at, domain=step.domain),
        "end": ended(one, at, kind),
        "revive": revived(one, at, kind),
        "load": loaded(stated(some, f"name {step.one}", step.domain, at), Deletion(other, at)),
        "create": created(TYPES[step.one % 3], str(step.other % 3), at),
        "rename": renamed(_ASSETS[len(PRODUCTS) + step.one % 3], at),
        "link": linked(one, other, at, confidence=step.one / 10),
        "unlink": unlinked(one, other, at),
        "join": joined(joins, some, AssetRef(uid=other), at),
        "unjoin": unjoined(joins, some, other, at),
    }[step.what]


# What is outside of sales: versions of products, of entities by their type, of links by their target and of joins by their
# origin, for as long as these are outside.
OUTSIDE = """
  WITH outside AS (
    SELECT asset_id, valid_from, valid_to FROM product_version WHERE domain <> 'sales'
    UNION ALL
    SELECT id, '-infinity', 'infinity' FROM asset a WHERE kind = 'ENTITY'
      AND EXISTS (SELECT FROM entity_type t WHERE t.code = a.type AND t.domain IS DISTINCT FROM 'sales')
  ),
  bond AS (
    SELECT 'link' AS kind, i.target_id AS asset_id, i.uid, v.valid_from, v.valid_to, CAST(v.confidence AS text) AS state
    FROM lineage_link_version v
    JOIN lineage_link i ON i.id = v.link_id
    UNION ALL
    SELECT 'join', i.origin_id, i.uid, v.valid_from, v.valid_to, CAST(v.attributes AS text)
    FROM relationship_version v
    JOIN relationship i ON i.id = v.relationship_id
  )
  SELECT 'product', CAST(v AS text) FROM product_version v WHERE domain <> 'sales'
  UNION ALL
  SELECT 'entity', CAST(v AS text) FROM entity_version v JOIN outside o USING (asset_id)
  UNION ALL
  SELECT b.kind, concat(b.uid, b.state, greatest(b.valid_from, o.valid_from), least(b.valid_to, o.valid_to))
  FROM bond b
  JOIN outside o ON o.asset_id = b.asset_id AND o.valid_from < b.valid_to AND o.valid_to > b.valid_from
  ORDER BY 1, 2
"""


@pytest.fixture(scope="module")
def bench(server: str, template: str) -> Iterator[tuple[asyncio.Runner, Database, asyncpg.Connection]]:
    with shared_database(server, template) as address, asyncio.Runner() as runner:
        database = Database(address, pool_size=2)
        owner = runner.run(asyncpg.connect(address))
        yield runner, database, owner
        runner.run(owner.close())
        runner.run(database.close())


async def live(database: Database, author: Author, steps: list[Step], look: Callable[[WriteConnection], Awaitable[Any]]) -> int:
    """Try each of some writes, look, and leave nothing. How many were there?"""
    done = 0
    with contextlib.suppress(_Enough):
        async with database.transaction(1, SETUP) as connection:
            await look(connection)
            connection.author = author
            for it in steps:
                with contextlib.suppress(HeadwaterError):
                    async with _undone(connection):
                        await written(it)(connection)
                        done += 1
            await look(connection)
            raise _Enough
    return done


@contextlib.asynccontextmanager
async def _undone(connection: WriteConnection) -> Any:
    """What is refused in it is undone by itself, whatever it is refused for."""
    nested = await connection._connection.begin_nested()
    try:
        yield
    except HeadwaterError:
        while (inner := connection._connection.get_nested_transaction()) is not None:
            await inner.rollback()
        connection.failure = None
        raise
    await nested.commit()


@pytest.mark.random
@given(st.lists(_steps, min_size=1, max_size=8))
@settings(max_examples=size(quick=60, soak=300), suppress_health_check=list(HealthCheck))
def test_whatever_is_tried_within_a_domain_what_is_outside_stays_as_it_was(
    bench: tuple[asyncio.Runner, Database, asyncpg.Connection], steps: list[Step]
) -> None:
    runner, database, _ = bench
    seen: list[Any] = []
    runner.run(live(database, SALES, steps, partial(_look, seen)))
    assert seen[0] == seen[1]


async def _look(seen: list[Any], connection: WriteConnection) -> None:
    seen.append([tuple(row) for row in (await connection._connection.exec_driver_sql(OUTSIDE)).all()])


def test_the_same_by_somebody_who_may_write_anywhere_changes_what_is_outside(
    bench: tuple[asyncio.Runner, Database, asyncpg.Connection],
) -> None:
    runner, database, _ = bench
    for step in (
        Step("update", 2, 1, None, "sales"),
        Step("end", 8, 0, 2, "sales"),
        Step("link", 0, 2, None, "sales"),
        Step("join", 2, 0, 2, "sales"),
    ):
        seen: list[Any] = []
        assert runner.run(live(database, Author("ann"), [step], partial(_look, seen))) == 1
        assert seen[0] != seen[1], step

"""Joins said and ended in any order, one by one and in batches, between assets that live, die and return, and a plain model."""

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from itertools import count
from typing import Any, TypeAlias
from uuid import UUID

import pytest
from sqlalchemy import text

from db.assets import asset, product_fields
from db.assets.asset import Deletion, IdentitySpec
from db.associations import relationship
from db.associations.association import AssetRef
from db.associations.relationship import RelationshipQuery, relationship_uid
from db.author import Author
from db.bulk.ingest import AssetState, Statement, ingest
from db.connection import WriteConnection
from db.database import Database
from db.errors import HeadwaterError, NotFound, ResolvableConflict
from db.pagination import Page
from db.registries import entity_type, relationship_type
from db.registries.relationship_type import CARDINALITIES, RelationshipTypes, all_relationship_types
from db.temporal.change_log import Operation, Outcome
from db.temporal.kinds import ENTITY, KIND_OF, PRODUCT
from db.temporal.verification import verify_tenant
from tests.builders import day
from tests.builders import product_fields as given_fields
from tests.db.associations.relationship_model import FOREVER, Asset, Held, Joined, Pair
from tests.db.temporal.model import Said
from tests.randomness import seeds

pytestmark = [pytest.mark.random, pytest.mark.temporal]

SEEDS = seeds(quick=4, soak=32)
WORLDS = 2
STEPS = 25
DAYS = 8

# Some of these are called alike from different ends, and one reads alike from both.
TYPES: list[dict[str, Any]] = [
    {"key": "has", "reverse_key": "has_of", "origin": "TABLE", "related": "JOB"},
    {"key": "uses", "reverse_key": "used_by", "origin": "TABLE", "related": "JOB"},
    {"key": "uses", "reverse_key": "used_by", "origin": "TABLE", "related": "TABLE"},
    {"key": "next", "reverse_key": "previous", "origin": "ENTITY", "related": "ENTITY"},
    {"key": "used_by", "reverse_key": "beside", "origin": "PRODUCT", "related": "ENTITY"},
]
MUTUAL = {"key": "beside", "reverse_key": "beside", "origin": "ENTITY", "related": "ENTITY", "cardinality": "MANY_TO_MANY"}
KEYS = ["has", "has_of", "uses", "used_by", "next", "previous", "beside"]

Step: TypeAlias = "Callable[[World], Any]"

_HELD = text(
    "SELECT type_id, origin_id, related_id, valid_from, NULLIF(valid_to, 'infinity') AS valid_to, attributes FROM relationship_effective"
    " WHERE tenant_id = CAST(:tenant AS bigint) ORDER BY type_id, origin_id, related_id, valid_from"
)
_STEP = text("SAVEPOINT step")
_UNDO = text("ROLLBACK TO SAVEPOINT step")


@pytest.fixture
async def database(address: str) -> AsyncIterator[Database]:
    """With one connection, so that a statement is planned once."""
    opened = Database(address, pool_size=1)
    yield opened
    await opened.close()


@asynccontextmanager
async def abandoned(database: Database) -> AsyncIterator[WriteConnection]:
    """To write into, without leaving anything."""
    with suppress(HeadwaterError):
        async with database.transaction(1, Author("world")) as connection:
            yield connection
            raise HeadwaterError("nothing of it is kept")


class World:
    """What was written, beside the model of it."""

    def __init__(self, connection: WriteConnection, chance: random.Random, model: Joined, types: RelationshipTypes) -> None:
        self.connection = connection
        self.chance = chance
        self.model = model
        self.types = types
        self.pairs: dict[UUID, Pair] = {}

    def instant(self) -> datetime:
        return day(self.chance.randrange(DAYS))

    def asset(self) -> Asset:
        return self.chance.choice(list(self.model.assets.values()))

    def pair(self) -> Pair:
        """A join that may be; often one that collides."""
        type_ = self.chance.choice(list(self.model.types.values()))
        origin, related = (
            self.chance.choice([it for it in self.model.assets.values() if it.fits(end)]) for end in (type_.origin, type_.related)
        )
        return self.pair() if origin == related else self.model.pair(type_.type_id, origin.asset_id, related.asset_id)

    def uid(self, pair: Pair) -> UUID:
        type_id, origin, related = pair
        uid = relationship_uid(self.model.types[type_id], self.model.assets[origin].uid, self.model.assets[related].uid)
        self.pairs[uid] = pair
        return uid

    def stated(self, pair: Pair, at: datetime) -> relationship.RelationshipState:
        """The join as somebody says it: from either end where it reads alike from both, its type by the key if that does."""
        type_id, *ends = pair
        type_ = self.model.types[type_id]
        if type_.is_symmetric and self.chance.random() < 0.5:
            ends.reverse()
        unique = len([it for it in self.types.rows if it.key == type_.key]) == 1
        name = type_.key if unique and self.chance.random() < 0.5 else type_.code
        payload = {"attributes": {"n": self.chance.choice((1, 1, 2))}}
        origin, related = (AssetRef(uid=self.model.assets[it].uid) for it in ends)
        return relationship.RelationshipState(name, origin, related, payload, at)

    async def attempt(self, step: Any) -> Outcome | HeadwaterError:
        """What becomes of something, which leaves nothing if it is refused."""
        await self.connection.execute(_STEP)
        try:
            outcome: Outcome = await step
        except HeadwaterError as refused:
            await self.connection.execute(_UNDO)
            self.connection.failure = None
            return refused
        return outcome

    async def check(self) -> None:
        """What holds is what the model says, and breaks nothing."""
        rows = await self.connection.fetch(_HELD)
        standing = [
            Held((it.type_id, it.origin_id, it.related_id), it.valid_from, it.valid_to or FOREVER, it.attributes) for it in rows
        ]
        assert standing == self.model.held()
        assert self.model.broken() == []


async def begin(connection: WriteConnection, chance: random.Random, on_delete: Sequence[str]) -> World:
    for code in ("TABLE", "JOB"):
        await entity_type.put(connection, code, code)
    for it in TYPES:
        await relationship_type.put(
            connection, **it, cardinality=chance.choice(CARDINALITIES), on_delete=chance.choice(on_delete)
        )
    await relationship_type.put(connection, **MUTUAL, on_delete=chance.choice(on_delete))
    types = await all_relationship_types(connection)
    model = Joined({}, types.by_id)
    for number, type_ in enumerate(["TABLE"] * 3 + ["JOB"] * 3 + [None] * 2):
        kind = PRODUCT if type_ is None else ENTITY
        state: dict[str, Any] = {"display_name": f"e{number}", "details": {}}
        if kind is PRODUCT:
            state = product_fields.validate_state(given_fields(f"p{number}"))
        uid = UUID(int=chance.getrandbits(128), version=4)
        at = day(chance.choice((-1, -1, -1, 2)))
        (outcome,) = await ingest(connection, [AssetState(kind, IdentitySpec(uid, type_), state, at)])
        assert isinstance(outcome, Outcome)
        model.assets[outcome.subject_id] = Asset(outcome.subject_id, uid, kind.name, type_, state)
        model.lives[outcome.subject_id] = [Said(at, Operation.SET, state)]
    return World(connection, chance, model, types)


async def relate(world: World) -> None:
    """Allowed where both ends are alive then, and nothing breaks, ever."""
    pair, at = world.pair(), world.instant()
    stated = world.stated(pair, at)
    outcome = await world.attempt(relationship.relate(world.connection, stated))
    if not all(world.model.alive(it, at) for it in pair[1:]):
        assert isinstance(outcome, NotFound)
        return
    before = list(world.model.joins.get(pair, []))
    log = world.model.joins.setdefault(pair, [])
    new = world.model.hear(log, Said(at, Operation.SET, dict(stated.payload)))
    broken = world.model.broken()
    if isinstance(outcome, HeadwaterError):
        assert_told(world, outcome, broken)
        log[:] = before
        if not before:
            del world.model.joins[pair]
        return
    assert broken == []
    assert outcome.replayed != new


def assert_told(world: World, refused: HeadwaterError, broken: list[tuple[Held, Held]]) -> None:
    """It was refused because of two joins that are named."""
    assert isinstance(refused, ResolvableConflict), refused
    pairs = {frozenset((str(world.uid(one.pair)), str(world.uid(other.pair)))) for one, other in broken}
    told = {uid for pair in pairs for uid in pair if uid in refused.message}
    assert len(told) == 2


async def unrelate(world: World) -> None:
    """Allowed once anything was said of it."""
    pair, at = world.chance.choice([*world.model.joins, world.pair()]), world.instant()
    outcome = await world.attempt(relationship.unrelate(world.connection, world.uid(pair), at=at))
    log = world.model.joins.get(pair, [])
    assert isinstance(outcome, Outcome) == world.model.heard_of(log, at)
    if isinstance(outcome, Outcome):
        assert outcome.replayed != world.model.hear(log, Said(at, Operation.DELETE, None))


async def end(world: World) -> None:
    """Allowed unless a join holds it, or something that falls with it; in bulk it is told, not asked for."""
    it, at = world.asset(), world.instant()
    asked_for = world.chance.random() < 0.7
    if asked_for:
        outcome = await world.attempt(asset.delete(world.connection, KIND_OF[it.kind], it.uid, at=at))
    else:
        (outcome,) = await ingest(world.connection, [Deletion(it.uid, at)])
    log = world.model.lives[it.asset_id]
    if not world.model.heard_of(log, at):
        assert isinstance(outcome, NotFound)
    elif not asked_for or not world.model.alive(it.asset_id, at):
        assert isinstance(outcome, Outcome)
        world.model.hear(log, Said(at, Operation.DELETE, None))
    elif world.model.end(it.asset_id, at):
        assert isinstance(outcome, Outcome), outcome
    else:
        assert isinstance(outcome, ResolvableConflict)
        assert "restricts" in outcome.message


async def revive(world: World) -> None:
    """Allowed after its first day, where nothing breaks that returns with it."""
    it, at = world.asset(), world.instant()
    outcome = await world.attempt(asset.restore(world.connection, KIND_OF[it.kind], it.uid, at=at))
    log = world.model.lives[it.asset_id]
    if not any(since <= at for since, _ in world.model.life(it.asset_id)):
        assert isinstance(outcome, NotFound)
        return
    before = list(log)
    new = world.model.hear(log, Said(at, Operation.SET, it.state))
    broken = world.model.broken()
    if isinstance(outcome, HeadwaterError):
        assert_told(world, outcome, broken)
        log[:] = before
        return
    assert broken == []
    assert outcome.replayed != new


def several(*, ends: bool) -> Step:
    """A batch; what is refused of it comes again until nothing more gets through."""

    async def step(world: World) -> None:
        waiting = any_batch(world, ends=ends)
        while waiting:
            outcomes = await ingest(world.connection, waiting)
            refused = []
            for it, outcome in zip(waiting, outcomes, strict=True):
                if isinstance(outcome, Outcome):
                    world.model.hear(*log_of(world, it))
                else:
                    refused.append(it)
            await world.check()
            if len(refused) == len(waiting):
                break
            waiting = refused
        for it, outcome in zip(waiting, outcomes, strict=True) if waiting else ():
            assert isinstance(outcome, HeadwaterError)
            log, said = log_of(world, it)
            if said.operation is Operation.DELETE:
                assert isinstance(outcome, NotFound)
                assert not world.model.heard_of(log, said.at)
                continue
            assert isinstance(outcome, ResolvableConflict)
            assert world.model.hear(log, said)
            assert world.model.broken() != []
            log.pop()

    return step


def any_batch(world: World, *, ends: bool) -> list[Statement]:
    """Statements of which each is about another subject, or another instant."""
    batch: dict[tuple[Any, datetime], Statement] = {}
    for _ in range(world.chance.choice((2, 5, 12, 25))):
        at = world.instant()
        match world.chance.choice(["join"] * 5 + ["part"] * 2 + ["live"] + ["die"] * ends):
            case "join":
                pair = world.pair()
                batch.setdefault((pair, at), world.stated(pair, at))
            case "part":
                pair = world.chance.choice([*world.model.joins, world.pair()])
                batch.setdefault((pair, at), Deletion(world.uid(pair), at))
            case "live":
                it = world.asset()
                batch.setdefault((it.asset_id, at), AssetState(KIND_OF[it.kind], IdentitySpec(it.uid, it.type), it.state, at))
            case _:
                it = world.asset()
                batch.setdefault((it.asset_id, at), Deletion(it.uid, at))
    return list(batch.values())


def log_of(world: World, statement: Statement) -> tuple[list[Said], Said]:
    """The log that a statement belongs in, and how it is written there."""
    model = world.model
    by_uid = {it.uid: it.asset_id for it in model.assets.values()}
    assert statement.at is not None
    match statement:
        case relationship.RelationshipState():
            type_ = next(it for it in world.types.rows if statement.type in (it.code, it.key))
            origin, related = (by_uid[it.uid] for it in (statement.origin, statement.related) if it.uid is not None)
            log = model.joins.setdefault(model.pair(type_.type_id, origin, related), [])
            return log, Said(statement.at, Operation.SET, dict(statement.payload))
        case AssetState():
            assert statement.ref.uid is not None
            return model.lives[by_uid[statement.ref.uid]], Said(statement.at, Operation.SET, dict(statement.payload))
        case Deletion() if statement.uid in by_uid:
            return model.lives[by_uid[statement.uid]], Said(statement.at, Operation.DELETE, None)
        case Deletion():
            return model.joins.setdefault(world.pairs[statement.uid], []), Said(statement.at, Operation.DELETE, None)
    raise AssertionError(statement)


async def assert_read(world: World) -> None:
    """Every read of joins, now and then, page by page in either direction."""
    connection, model = world.connection, world.model
    for key in KEYS:
        ways = world.types.directed_type_ids(key)
        readings = [(it, any_instant(world.chance)) for it in world.chance.choices(list(model.assets), k=6)]
        expected = [sorted(model.ways_of(*reading[:1], key, reading[1])) for reading in readings]
        others = [sorted({other for _, other, _ in those}) for those in expected]
        assert await relationship.count_related(connection, readings, ways) == [len(it) for it in others]
        assert await relationship.count_relationships_of_assets(connection, readings, ways) == [len(it) for it in expected]
        size = world.chance.choice((1, 2, 3))
        pages = await relationship.related_to_assets(connection, readings, ways, Page(size))
        assert [(it.items, it.more) for it in pages] == [(it[:size], len(it) > size) for it in others]
        joins = await relationship.relationships_of_assets(connection, readings, ways, Page(50))
        for those, page in zip(expected, joins, strict=True):
            rows = [(it.type_id, it.origin_id, it.related_id) for it in page.items]
            assert sorted(rows) == sorted(pair for _, _, pair in those)
        for (asset_id, _), page in zip(readings, joins, strict=True):
            places = [relationship.cursor_key_at(asset_id, it) for it in page.items]
            assert places == sorted(places)
        for backward in (False, True):
            whole = (others[0], joins[0].items)
            assert await paged(connection, readings[0], ways, size, backward) == whole


async def paged(
    connection: WriteConnection, reading: tuple[int, datetime], ways: relationship_type.DirectedTypeIds, size: int, backward: bool
) -> tuple[list[int], list[relationship.RelationshipRow]]:
    """Both lists, put together from their pages."""
    others: list[int] = []
    joins: list[relationship.RelationshipRow] = []

    async def gather(found: list[Any], read: Callable[..., Any], place: Callable[[Any], tuple[Any, ...]]) -> None:
        for number in count():
            edge = {} if not number else {"before": place(found[0])} if backward else {"after": place(found[-1])}
            (page,) = await read(connection, [reading], ways, Page(size, backward, **edge))
            found[:] = page.items + found if backward else found + page.items
            if not page.more:
                return

    await gather(others, relationship.related_to_assets, lambda it: (it,))
    await gather(joins, relationship.relationships_of_assets, lambda it: relationship.cursor_key_at(reading[0], it))
    return others, joins


async def assert_listed(world: World) -> None:
    """The list of all joins, by type and by either end."""
    for _ in range(4):
        instant = any_instant(world.chance)
        types = tuple(world.chance.sample(list(world.model.types), 3))
        one = world.asset()
        for query, taken in (
            (RelationshipQuery(as_of=instant), lambda _: True),
            (RelationshipQuery(types=types, as_of=instant), lambda it, types=types: it.pair[0] in types),
            (RelationshipQuery(types=(), as_of=instant), lambda _: False),
            (RelationshipQuery(origin=one.uid, as_of=instant), lambda it, one=one: it.pair[1] == one.asset_id),
            (RelationshipQuery(related=one.uid, as_of=instant), lambda it, one=one: it.pair[2] == one.asset_id),
        ):
            expected = sorted(it.pair for it in world.model.at(instant) if taken(it))
            rows = (await relationship.list_relationships(world.connection, query, Page(500))).items
            assert sorted((it.type_id, it.origin_id, it.related_id) for it in rows) == expected
            assert await relationship.count_relationships(world.connection, query) == len(expected)
            assert [it.relationship_id for it in rows] == sorted(it.relationship_id for it in rows)


def any_instant(chance: random.Random) -> datetime:
    return day(chance.randrange(-2, DAYS + 1)) + timedelta(microseconds=chance.choice((-1, 0, 0, 1)))


async def live_through(database: Database, seed: int, on_delete: Sequence[str], steps: Sequence[Step]) -> None:
    for number in range(WORLDS):
        chance = random.Random(f"{seed}/{number}")
        async with abandoned(database) as connection:
            world = await begin(connection, chance, on_delete)
            for _ in range(STEPS):
                await chance.choice(steps)(world)
                await world.check()
            await assert_read(world)
            await assert_listed(world)
            assert (await verify_tenant(connection)).differences == []


@pytest.mark.parametrize("seed", SEEDS)
async def test_joins_that_close_are_those_of_the_model(database: Database, seed: int) -> None:
    steps = [relate, relate, relate, unrelate, end, revive, several(ends=True), several(ends=True)]
    await live_through(database, seed, ["CLOSE"], steps)


@pytest.mark.parametrize("seed", SEEDS)
async def test_joins_that_hold_and_take_along_are_those_of_the_model(database: Database, seed: int) -> None:
    steps = [relate, relate, relate, unrelate, end, end, revive, several(ends=False)]
    await live_through(database, seed, ["CLOSE", "RESTRICT", "CASCADE", "CASCADE"], steps)

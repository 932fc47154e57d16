"""Random histories of relationships and of their ends, by single writes and batches, compared with a plain model."""

import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from itertools import count
from typing import Any, TypeAlias
from uuid import UUID

import pytest

from db.assets import asset, product_fields
from db.assets.asset import Deletion, IdentitySpec
from db.assets.reference import AssetRef
from db.associations import relationship
from db.associations.reference import relationship_uid
from db.associations.relationship import RelationshipQuery, RelationshipState
from db.author import Author
from db.bulk.ingest import AssetState, BatchEntry, ingest
from db.connection import WriteConnection
from db.database import Database
from db.errors import HeadwaterError, NotFound, ResolvableConflict
from db.pagination import Page
from db.registries import entity_type, relationship_type
from db.registries.relationship_type import CARDINALITIES, DirectedTypeIds, RelationshipTypes, all_relationship_types
from db.sql import text
from db.temporal.change_log import Operation, Outcome
from db.temporal.kinds import ENTITY, KIND_OF, PRODUCT
from db.temporal.verification import verify_tenant
from tests.builders import day
from tests.builders import product_fields as given_fields
from tests.db.associations.relationship_model import FOREVER, AssetModel, EffectivePeriod, Key, RelationshipModel
from tests.db.temporal.model import AcceptedChange
from tests.randomness import seeds

pytestmark = [pytest.mark.random, pytest.mark.slow(3), pytest.mark.temporal]

SEEDS = seeds(quick=4, soak=32)
HISTORIES = 2
STEPS = 25
DAYS = 8

# Some keys belong to several types, or to one type's origin and another's related end; the last type is symmetric.
TYPES: list[dict[str, Any]] = [
    {"key": "has", "reverse_key": "has_of", "origin": "TABLE", "related": "JOB"},
    {"key": "uses", "reverse_key": "used_by", "origin": "TABLE", "related": "JOB"},
    {"key": "uses", "reverse_key": "used_by", "origin": "TABLE", "related": "TABLE"},
    {"key": "next", "reverse_key": "previous", "origin": "ENTITY", "related": "ENTITY"},
    {"key": "used_by", "reverse_key": "beside", "origin": "PRODUCT", "related": "ENTITY"},
]
SYMMETRIC = {"key": "beside", "reverse_key": "beside", "origin": "ENTITY", "related": "ENTITY", "cardinality": "MANY_TO_MANY"}
KEYS = ["has", "has_of", "uses", "used_by", "next", "previous", "beside"]

Step: TypeAlias = "Callable[[History], Coroutine[Any, Any, None]]"

_EFFECTIVE = text(
    "SELECT type_id, origin_id, related_id, valid_from, NULLIF(valid_to, 'infinity') AS valid_to, attributes"
    " FROM relationship_effective WHERE tenant_id = CAST(:tenant AS bigint) ORDER BY type_id, origin_id, related_id, valid_from"
)
_SAVEPOINT = text("SAVEPOINT step")
_ROLL_BACK = text("ROLLBACK TO SAVEPOINT step")


@pytest.fixture
async def database(address: str) -> AsyncIterator[Database]:
    """A database with one connection, so that each statement is planned once."""
    opened = Database(address, pool_size=1)
    yield opened
    await opened.close()


@asynccontextmanager
async def rolled_back(database: Database) -> AsyncIterator[WriteConnection]:
    """Open a transaction whose writes are rolled back. It has no request id, so that a change may be restated."""
    with suppress(HeadwaterError):
        async with database.transaction(1, Author("writer")) as connection:
            yield connection
            raise HeadwaterError("rolled back")


class History:
    """The writes so far, in the database and in the model."""

    def __init__(
        self, connection: WriteConnection, rng: random.Random, model: RelationshipModel, types: RelationshipTypes
    ) -> None:
        self.connection = connection
        self.rng = rng
        self.model = model
        self.types = types
        self.keys: dict[UUID, Key] = {}

    def random_day(self) -> datetime:
        return day(self.rng.randrange(DAYS))

    def random_asset(self) -> AssetModel:
        return self.rng.choice(list(self.model.assets.values()))

    def random_key(self) -> Key:
        """Choose a relationship that its type allows. There are few assets, so that many violate cardinality."""
        type_ = self.rng.choice(list(self.model.types.values()))
        origin, related = (
            self.rng.choice([it for it in self.model.assets.values() if it.matches(end)]) for end in (type_.origin, type_.related)
        )
        if origin == related:
            return self.random_key()
        return self.model.key(type_.type_id, origin.asset_id, related.asset_id)

    def uid(self, key: Key) -> UUID:
        type_id, origin, related = key
        uid = relationship_uid(self.model.types[type_id], self.model.assets[origin].uid, self.model.assets[related].uid)
        self.keys[uid] = key
        return uid

    def state(self, key: Key, at: datetime) -> RelationshipState:
        """Choose a state, the order of symmetric ends, and whether to name the type by its key where that is unique."""
        type_id, *ends = key
        type_ = self.model.types[type_id]
        if type_.is_symmetric and self.rng.random() < 0.5:
            ends.reverse()
        is_unique = len([it for it in self.types.rows if it.key == type_.key]) == 1
        name = type_.key if is_unique and self.rng.random() < 0.5 else type_.code
        payload = {"attributes": {"n": self.rng.choice((1, 1, 2))}}
        origin, related = (AssetRef(uid=self.model.assets[it].uid) for it in ends)
        return RelationshipState(name, origin, related, payload, at)

    async def attempt(self, write: Coroutine[Any, Any, Outcome]) -> Outcome | HeadwaterError:
        """Run a write and return its outcome, or roll it back and return its error."""
        await self.connection.execute(_SAVEPOINT)
        try:
            return await write
        except HeadwaterError as error:
            await self.connection.execute(_ROLL_BACK)
            self.connection.failure = None
            return error

    async def check(self) -> None:
        """Compare the effective rows with the model, which must not violate cardinality."""
        rows = await self.connection.fetch(_EFFECTIVE)
        stored = [
            EffectivePeriod((row.type_id, row.origin_id, row.related_id), row.valid_from, row.valid_to or FOREVER, row.attributes)
            for row in rows
        ]
        assert stored == self.model.effective_periods()
        assert self.model.cardinality_violations() == []


async def begin_history(connection: WriteConnection, rng: random.Random, on_delete: Sequence[str]) -> History:
    """Register types and assets, in the database and in the model."""
    for code in ("TABLE", "JOB"):
        await entity_type.put(connection, code, code)
    for fields in TYPES:
        await relationship_type.put(connection, **fields, cardinality=rng.choice(CARDINALITIES), on_delete=rng.choice(on_delete))
    await relationship_type.put(connection, **SYMMETRIC, on_delete=rng.choice(on_delete))
    types = await all_relationship_types(connection)
    model = RelationshipModel({}, types.by_id)
    for number, entity_code in enumerate(["TABLE"] * 3 + ["JOB"] * 3 + [None] * 2):
        kind = PRODUCT if entity_code is None else ENTITY
        state: dict[str, Any] = {"display_name": f"e{number}", "details": {}, "keys": []}
        if kind is PRODUCT:
            state = product_fields.validate_state(given_fields(f"p{number}"))
        uid = UUID(int=rng.getrandbits(128), version=4)
        at = day(rng.choice((-1, -1, -1, 2)))
        (outcome,) = await ingest(connection, [AssetState(kind, IdentitySpec(uid, entity_code), state, at)])
        assert isinstance(outcome, Outcome)
        model.assets[outcome.subject_id] = AssetModel(outcome.subject_id, uid, kind.name, entity_code, state)
        model.asset_logs[outcome.subject_id] = [AcceptedChange(at, Operation.SET, state)]
    return History(connection, rng, model, types)


async def relate(history: History) -> None:
    """Relate two assets. Accepted if both are alive at the instant and cardinality is not violated at any instant."""
    key, at = history.random_key(), history.random_day()
    state = history.state(key, at)
    outcome = await history.attempt(relationship.relate(history.connection, state))
    if not all(history.model.alive(end, at) for end in key[1:]):
        assert isinstance(outcome, NotFound)
        return
    before = list(history.model.relationship_logs.get(key, []))
    log = history.model.relationship_logs.setdefault(key, [])
    is_new = history.model.append(log, AcceptedChange(at, Operation.SET, dict(state.payload)))
    violations = history.model.cardinality_violations()
    if isinstance(outcome, HeadwaterError):
        assert_names_violation(history, outcome, violations)
        log[:] = before
        if not before:
            del history.model.relationship_logs[key]
        return
    assert violations == []
    assert outcome.replayed != is_new


def assert_names_violation(
    history: History, error: HeadwaterError, violations: list[tuple[EffectivePeriod, EffectivePeriod]]
) -> None:
    """Assert that the error names the two relationships of a violation."""
    assert isinstance(error, ResolvableConflict), error
    uids = {str(history.uid(period.key)) for violation in violations for period in violation}
    assert len([uid for uid in uids if uid in error.message]) == 2


async def unrelate(history: History) -> None:
    """End a relationship. Accepted if it has any change until then."""
    key = history.rng.choice([*history.model.relationship_logs, history.random_key()])
    at = history.random_day()
    outcome = await history.attempt(relationship.unrelate(history.connection, history.uid(key), at=at))
    log = history.model.relationship_logs.get(key, [])
    assert isinstance(outcome, Outcome) == history.model.has_change_until(log, at)
    if isinstance(outcome, Outcome):
        assert outcome.replayed != history.model.append(log, AcceptedChange(at, Operation.DELETE, None))


async def delete(history: History) -> None:
    """Delete an asset. Accepted unless the deletion, or one to which it cascades, is restricted. A batch ignores onDelete."""
    chosen, at = history.random_asset(), history.random_day()
    is_single = history.rng.random() < 0.7
    if is_single:
        outcome = await history.attempt(asset.delete(history.connection, KIND_OF[chosen.kind], chosen.uid, at=at))
    else:
        (outcome,) = await ingest(history.connection, [Deletion(chosen.uid, at)])
    log = history.model.asset_logs[chosen.asset_id]
    if not history.model.has_change_until(log, at):
        assert isinstance(outcome, NotFound)
    elif not is_single or not history.model.alive(chosen.asset_id, at):
        assert isinstance(outcome, Outcome)
        history.model.append(log, AcceptedChange(at, Operation.DELETE, None))
    elif history.model.delete(chosen.asset_id, at):
        assert isinstance(outcome, Outcome), outcome
    else:
        assert isinstance(outcome, ResolvableConflict)
        assert "restricts deletion" in outcome.message


async def restore(history: History) -> None:
    """Restore an asset. Accepted after its first day, unless relationships that become effective again violate cardinality."""
    chosen, at = history.random_asset(), history.random_day()
    outcome = await history.attempt(asset.restore(history.connection, KIND_OF[chosen.kind], chosen.uid, at=at))
    log = history.model.asset_logs[chosen.asset_id]
    if not any(since <= at for since, _ in history.model.lifetimes(chosen.asset_id)):
        assert isinstance(outcome, NotFound)
        return
    before = list(log)
    is_new = history.model.append(log, AcceptedChange(at, Operation.SET, chosen.state))
    violations = history.model.cardinality_violations()
    if isinstance(outcome, HeadwaterError):
        assert_names_violation(history, outcome, violations)
        log[:] = before
        return
    assert violations == []
    assert outcome.replayed != is_new


def ingest_batch(*, with_deletions: bool) -> Step:
    """Ingest a batch, and its rejected statements again until none of them is accepted any more."""

    async def step(history: History) -> None:
        pending = random_batch(history, with_deletions=with_deletions)
        while pending:
            outcomes = await ingest(history.connection, pending)
            rejected = []
            for statement, outcome in zip(pending, outcomes, strict=True):
                if isinstance(outcome, Outcome):
                    history.model.append(*log_and_change(history, statement))
                else:
                    rejected.append(statement)
            await history.check()
            if len(rejected) == len(pending):
                break
            pending = rejected
        for statement, outcome in zip(pending, outcomes, strict=True) if pending else ():
            assert isinstance(outcome, HeadwaterError)
            log, change = log_and_change(history, statement)
            if change.operation is Operation.DELETE:
                assert isinstance(outcome, NotFound)
                assert not history.model.has_change_until(log, change.at)
                continue
            assert isinstance(outcome, ResolvableConflict)
            assert history.model.append(log, change)
            assert history.model.cardinality_violations() != []
            log.pop()

    return step


def random_batch(history: History, *, with_deletions: bool) -> list[BatchEntry]:
    """Choose statements, of which no two are about the same subject and instant."""
    batch: dict[tuple[Any, datetime], BatchEntry] = {}
    for _ in range(history.rng.choice((2, 5, 12, 25))):
        at = history.random_day()
        match history.rng.choice(["relate"] * 5 + ["unrelate"] * 2 + ["restore"] + ["delete"] * with_deletions):
            case "relate":
                key = history.random_key()
                batch.setdefault((key, at), history.state(key, at))
            case "unrelate":
                key = history.rng.choice([*history.model.relationship_logs, history.random_key()])
                batch.setdefault((key, at), Deletion(history.uid(key), at))
            case "restore":
                chosen = history.random_asset()
                spec = IdentitySpec(chosen.uid, chosen.type)
                batch.setdefault((chosen.asset_id, at), AssetState(KIND_OF[chosen.kind], spec, chosen.state, at))
            case _:
                chosen = history.random_asset()
                batch.setdefault((chosen.asset_id, at), Deletion(chosen.uid, at))
    return list(batch.values())


def log_and_change(history: History, statement: BatchEntry) -> tuple[list[AcceptedChange], AcceptedChange]:
    """Return the log of the model that a statement belongs to, and the change that it makes there."""
    model = history.model
    asset_ids = {it.uid: it.asset_id for it in model.assets.values()}
    assert statement.at is not None
    match statement:
        case RelationshipState():
            type_ = next(it for it in history.types.rows if statement.type in (it.code, it.key))
            origin, related = (asset_ids[ref.uid] for ref in (statement.origin, statement.related) if ref.uid is not None)
            log = model.relationship_logs.setdefault(model.key(type_.type_id, origin, related), [])
            return log, AcceptedChange(statement.at, Operation.SET, dict(statement.payload))
        case AssetState():
            assert statement.ref.uid is not None
            return model.asset_logs[asset_ids[statement.ref.uid]], AcceptedChange(
                statement.at, Operation.SET, dict(statement.payload)
            )
        case Deletion() if statement.uid in asset_ids:
            return model.asset_logs[asset_ids[statement.uid]], AcceptedChange(statement.at, Operation.DELETE, None)
        case Deletion():
            log = model.relationship_logs.setdefault(history.keys[statement.uid], [])
            return log, AcceptedChange(statement.at, Operation.DELETE, None)
    raise AssertionError(statement)


async def check_reads_of_assets(history: History) -> None:
    """Compare the relationships and the related assets of some assets with the model, page by page in both directions."""
    connection, model = history.connection, history.model
    for name in KEYS:
        types = history.types.directed_type_ids(name)
        readings = [(asset_id, random_instant(history.rng)) for asset_id in history.rng.choices(list(model.assets), k=6)]
        expected = [sorted(model.relationships_under(asset_id, name, instant)) for asset_id, instant in readings]
        related = [sorted({other for _, other, _ in of_asset}) for of_asset in expected]
        assert await relationship.count_related(connection, readings, types) == [len(it) for it in related]
        assert await relationship.count_relationships_of_assets(connection, readings, types) == [len(it) for it in expected]
        size = history.rng.choice((1, 2, 3))
        pages = await relationship.related_to_assets(connection, readings, types, Page(size))
        assert [(it.items, it.more) for it in pages] == [(it[:size], len(it) > size) for it in related]
        relationships = await relationship.relationships_of_assets(connection, readings, types, Page(50))
        for of_asset, page in zip(expected, relationships, strict=True):
            rows = [(it.type_id, it.origin_id, it.related_id) for it in page.items]
            assert sorted(rows) == sorted(key for _, _, key in of_asset)
        for (asset_id, _), page in zip(readings, relationships, strict=True):
            cursor_keys = [relationship.cursor_key_at(asset_id, it) for it in page.items]
            assert cursor_keys == sorted(cursor_keys)
        for backward in (False, True):
            whole = (related[0], relationships[0].items)
            assert await read_in_pages(connection, readings[0], types, size, backward) == whole


async def read_in_pages(
    connection: WriteConnection, reading: tuple[int, datetime], types: DirectedTypeIds, size: int, backward: bool
) -> tuple[list[int], list[relationship.RelationshipRow]]:
    """Read the related assets and the relationships of an asset page by page, and concatenate the pages."""
    related: list[int] = []
    relationships: list[relationship.RelationshipRow] = []

    async def gather(items: list[Any], read: Callable[..., Any], cursor_key: Callable[[Any], tuple[Any, ...]]) -> None:
        for number in count():
            edge = {} if not number else {"before": cursor_key(items[0])} if backward else {"after": cursor_key(items[-1])}
            (page,) = await read(connection, [reading], types, Page(size, backward, **edge))
            items[:] = page.items + items if backward else items + page.items
            if not page.more:
                return

    await gather(related, relationship.related_to_assets, lambda it: (it,))
    await gather(relationships, relationship.relationships_of_assets, lambda it: relationship.cursor_key_at(reading[0], it))
    return related, relationships


async def check_lists(history: History) -> None:
    """Compare the list of all relationships, filtered by type and by either end, with the model."""
    for _ in range(4):
        instant = random_instant(history.rng)
        types = tuple(history.rng.sample(list(history.model.types), 3))
        chosen = history.random_asset()
        for query, matches in (
            (RelationshipQuery(as_of=instant), lambda _: True),
            (RelationshipQuery(types=types, as_of=instant), lambda it, types=types: it.key[0] in types),
            (RelationshipQuery(types=(), as_of=instant), lambda _: False),
            (RelationshipQuery(origin=chosen.uid, as_of=instant), lambda it, chosen=chosen: it.key[1] == chosen.asset_id),
            (RelationshipQuery(related=chosen.uid, as_of=instant), lambda it, chosen=chosen: it.key[2] == chosen.asset_id),
        ):
            expected = sorted(it.key for it in history.model.effective_at(instant) if matches(it))
            rows = (await relationship.list_relationships(history.connection, query, Page(500))).items
            assert sorted((it.type_id, it.origin_id, it.related_id) for it in rows) == expected
            assert await relationship.count_relationships(history.connection, query) == len(expected)
            assert [it.relationship_id for it in rows] == sorted(it.relationship_id for it in rows)


def random_instant(rng: random.Random) -> datetime:
    return day(rng.randrange(-2, DAYS + 1)) + timedelta(microseconds=rng.choice((-1, 0, 0, 1)))


async def check_histories(database: Database, seed: int, on_delete: Sequence[str], steps: Sequence[Step]) -> None:
    """Run random steps, and compare the database with the model after each and at the end."""
    for number in range(HISTORIES):
        rng = random.Random(f"{seed}/{number}")
        async with rolled_back(database) as connection:
            history = await begin_history(connection, rng, on_delete)
            for _ in range(STEPS):
                await rng.choice(steps)(history)
                await history.check()
            await check_reads_of_assets(history)
            await check_lists(history)
            assert (await verify_tenant(connection)).differences == []


@pytest.mark.parametrize("seed", SEEDS)
async def test_relationships_that_close_on_delete_match_the_model(database: Database, seed: int) -> None:
    steps: list[Step] = [relate, relate, relate, unrelate, delete, restore]
    steps += [ingest_batch(with_deletions=True), ingest_batch(with_deletions=True)]
    await check_histories(database, seed, ["CLOSE"], steps)


@pytest.mark.parametrize("seed", SEEDS)
async def test_relationships_that_restrict_and_cascade_match_the_model(database: Database, seed: int) -> None:
    steps = [relate, relate, relate, unrelate, delete, delete, restore, ingest_batch(with_deletions=False)]
    await check_histories(database, seed, ["CLOSE", "RESTRICT", "CASCADE", "CASCADE"], steps)

"""Any arrival order of the same accepted changes gives the same versions as a plain fold of them."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import text

from db.assets import asset
from db.assets.entity import entities_by_uid
from db.assets.product import products_by_uid
from db.author import Author
from db.connection import WriteConnection
from db.consistency.lifecycle import record_asset_change, record_asset_changes
from db.database import Database
from db.errors import Conflict, HeadwaterError, NotFound
from db.temporal.change_log import Assertion, Operation, Outcome
from db.temporal.kind import Kind
from db.temporal.kinds import ENTITY, PRODUCT
from db.temporal.verification import verify_tenant
from tests.builders import START
from tests.databases import shared_database
from tests.db.temporal.model import AcceptedChange, Period, details_of, fold, state_at

pytestmark = [pytest.mark.random, pytest.mark.scd2, pytest.mark.temporal]

MICROSECOND = timedelta(microseconds=1)

# Few instants, some of them neighbours, so that changes meet; each may come in any offset, which changes nothing.
instants = st.builds(
    lambda hours, micro, offset: (START + timedelta(hours=hours, microseconds=micro)).astimezone(
        timezone(timedelta(hours=offset))
    ),
    st.integers(0, 7),
    st.integers(0, 2),
    st.sampled_from([-8, 0, 1, 2, 5.5]),
)
subjects = st.integers(0, 2)


@dataclass(frozen=True)
class World:
    """A kind, and what may be said of it. Few values, so that changes often change nothing, and change back."""

    kind: Kind
    type: str | None
    start: dict[str, Any]
    patches: st.SearchStrategy[dict[str, Any]]
    # what a whole state may say beside what it starts with
    states: st.SearchStrategy[dict[str, Any]]
    read: Callable[..., Any]

    def whole(self, subject: int, patch: dict[str, Any]) -> dict[str, Any]:
        """A whole state. Names differ where they have to."""
        name = {"name": f"product {subject}"} if self.kind is PRODUCT else {}
        return {**self.start, **name, **patch}

    def __repr__(self) -> str:
        return self.kind.name


_of_product = st.fixed_dictionaries(
    {},
    optional={
        "owner": st.sampled_from(["ann", "bob"]),
        "description": st.sampled_from([None, "old", "new"]),
        "tags": st.sampled_from([[], ["a"], ["a", "b"]]),
        "schema": st.sampled_from([{}, {"a": 1}, {"b": [None, 1.5, "x"]}]),
    },
)
_PRODUCT_START: dict[str, Any] = {
    "domain": "sales",
    "owner": "ann",
    "description": None,
    "schema": {},
    "status": "ACTIVE",
    "version": "1.0.0",
    "tags": [],
}
_names = st.sampled_from(["ann", "bob"])
_values = st.sampled_from(["1", "2"])
_codes = st.sampled_from(["email", "phone", "size"])

WORLDS = [
    World(PRODUCT, None, _PRODUCT_START, _of_product, _of_product, products_by_uid),
    World(
        ENTITY,
        "PERSON",
        {"display_name": "ann", "details": {}},
        st.fixed_dictionaries(
            {}, optional={"display_name": _names, "details": st.dictionaries(_codes, st.none() | _values, max_size=3)}
        ),
        st.fixed_dictionaries({}, optional={"display_name": _names, "details": st.dictionaries(_codes, _values, max_size=3)}),
        entities_by_uid,
    ),
]
_GROUND = [
    "INSERT INTO domain (tenant_id, name) VALUES (CAST(:tenant AS bigint), 'sales') ON CONFLICT DO NOTHING",
    "INSERT INTO entity_type (tenant_id, code, label) VALUES (CAST(:tenant AS bigint), 'PERSON', '') ON CONFLICT DO NOTHING",
    "INSERT INTO detail_type (tenant_id, code, label, format) SELECT CAST(:tenant AS bigint), code, '', format"
    " FROM (VALUES ('email', NULL), ('phone', 'text'), ('size', 'number')) AS t (code, format) ON CONFLICT DO NOTHING",
]
_DETAILS = text(
    "SELECT asset_id, detail_type, value, number, valid_from, NULLIF(valid_to, 'infinity') AS valid_to FROM entity_detail"
    " WHERE tenant_id = CAST(:tenant AS bigint) ORDER BY detail_type, valid_from"
)


class Bench:
    """One connection and one event loop for all examples; each example is a transaction that is never committed."""

    def __init__(self, address: str) -> None:
        self.runner = asyncio.Runner()
        self.database = self.run(self._open(address))

    async def _open(self, address: str) -> Database:
        return Database(address, pool_size=1)

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    def close(self) -> None:
        self.run(self.database.close())
        self.runner.close()


@pytest.fixture(scope="module")
def bench(server: str) -> Iterator[Bench]:
    with shared_database(server) as address:
        bench = Bench(address)
        yield bench
        bench.close()


class Example:
    """Three subjects that nothing was said of yet, and what was said since, as the model has it."""

    def __init__(self, bench: Bench, world: World) -> None:
        self.bench = bench
        self.world = world
        self.kind = world.kind
        self.transaction = contextlib.AsyncExitStack()
        self.connection: WriteConnection = bench.run(
            self.transaction.enter_async_context(bench.database.transaction(1, Author("machine")))
        )
        for statement in _GROUND:
            bench.run(self.connection.execute(text(statement)))
        self.uids = [uuid4() for _ in range(3)]
        self.ids = [
            bench.run(asset.add_or_lock(self.connection, world.kind, asset.IdentitySpec(uid, world.type))).asset_id
            for uid in self.uids
        ]
        self.logs: list[list[AcceptedChange]] = [[], [], []]

    def say(self, subject: int, operation: Operation, payload: dict[str, Any] | None, at: datetime) -> Outcome | None:
        """Assert something, and expect of it what the model says: refusal, replay, or a change."""
        said = AcceptedChange(at.astimezone(UTC), operation, payload)
        expected = self.hear(subject, said)
        try:
            assertion = Assertion(self.ids[subject], operation, payload, at)
            (outcome,) = self.bench.run(record_asset_change(self.connection, self.kind, [assertion]))
        except NotFound:
            assert expected == "missing"
            return None
        assert expected != "missing"
        assert outcome.at == said.at
        assert outcome.replayed == (expected == "replayed")
        if expected != "replayed":
            assert outcome.changed == (expected == "changed")
        return Outcome(outcome.subject_id, outcome.at, outcome.changed)

    def say_several(self, batch: Sequence[tuple[int, Operation, dict[str, Any] | None, datetime]]) -> None:
        """Assert many things at once. They are heard in order of their instants; at one instant the first of a subject counts."""
        expected: dict[int, str] = {}
        first: dict[tuple[int, datetime], int] = {}
        for place in sorted(range(len(batch)), key=lambda it: (batch[it][3], it)):
            subject, operation, payload, at = batch[place]
            said = AcceptedChange(at.astimezone(UTC), operation, payload)
            before = first.setdefault((subject, said.at), place)
            if before == place:
                expected[place] = self.hear(subject, said)
            elif batch[before][1:3] != (operation, payload):
                expected[place] = "contested"
            else:
                expected[place] = "missing" if expected[before] == "missing" else "replayed"
        assertions = [Assertion(self.ids[subject], said, payload, at) for subject, said, payload, at in batch]
        outcomes = self.bench.run(record_asset_changes(self.connection, self.kind, assertions)).outcomes
        for place, outcome in enumerate(outcomes):
            match expected[place]:
                case "missing":
                    assert isinstance(outcome, NotFound)
                case "contested":
                    assert isinstance(outcome, Conflict)
                case "replayed":
                    assert outcome.replayed
                case result:
                    assert not outcome.replayed
                    assert outcome.changed == (result == "changed")

    def hear(self, subject: int, said: AcceptedChange) -> str:
        """What becomes of it, as the model has it."""
        log = self.logs[subject]
        there = [it for it in log if it.at == said.at]
        if there and there[-1] == said:
            return "replayed"
        before = state_at(log, said.at)
        if (said.operation is Operation.PATCH and before is None) or (
            said.operation is Operation.DELETE and not any(it.at <= said.at for it in log)
        ):
            return "missing"
        log.append(said)
        return "changed" if state_at(log, said.at) != before else "same"

    def standing(self) -> list[list[Period]]:
        """The versions as the database has them."""
        found: dict[int, list[Period]] = {it: [] for it in self.ids}
        columns = self.kind.versions.c
        versions = self.kind.versions.select().where(columns.tenant_id == 1).order_by(columns.asset_id, columns.valid_from)
        for row in self.bench.run(self.connection.fetch(versions)):
            state = {name: getattr(row, name) for name in self.kind.fields}
            until = None if row.valid_to.year == 9999 else row.valid_to
            found[row.asset_id].append(Period(row.valid_from, until, state))
            assert row.created_at == found[row.asset_id][0].valid_from
        return list(found.values())

    def details(self) -> list[list[Any]]:
        """The details as the database has them."""
        found: dict[int, list[Any]] = {it: [] for it in self.ids}
        for row in self.bench.run(self.connection.fetch(_DETAILS)):
            found[row.asset_id].append((row.detail_type, row.value, row.valid_from, row.valid_to))
            assert row.number == (float(row.value) if row.detail_type == "size" else None)
        return list(found.values())

    def end(self) -> None:
        """Look around every instant at which anything was said, then leave no trace."""
        for subject, log in enumerate(self.logs):
            for at in {it.at for it in log}:
                for instant in (at - MICROSECOND, at, at + MICROSECOND):
                    (row,) = self.bench.run(self.world.read(self.connection, [self.uids[subject]], instant))
                    seen = None if row is None else {name: getattr(row, name) for name in self.kind.fields}
                    assert seen == state_at(log, instant)
        report = self.bench.run(verify_tenant(self.connection))
        assert [it for it in report.differences if "has no change" not in it] == []
        self.leave()

    def leave(self) -> None:
        abandoned = HeadwaterError("nothing of it is kept")
        with contextlib.suppress(HeadwaterError):
            self.bench.run(self.transaction.__aexit__(HeadwaterError, abandoned, None))


def machine_for(bench: Bench, world: World) -> type[RuleBasedStateMachine]:
    class Arrivals(RuleBasedStateMachine):
        """Changes in any order of arrival."""

        @initialize()
        def begin(self) -> None:
            self.example = Example(bench, world)

        @rule(subject=subjects, patch=world.states, at=instants)
        def set(self, subject: int, patch: dict[str, Any], at: datetime) -> None:
            self.example.say(subject, Operation.SET, world.whole(subject, patch), at)

        @rule(subject=subjects, patch=world.patches, at=instants)
        def patch(self, subject: int, patch: dict[str, Any], at: datetime) -> None:
            self.example.say(subject, Operation.PATCH, patch, at)

        @rule(subject=subjects, patch=world.states, at=instants)
        def stub(self, subject: int, patch: dict[str, Any], at: datetime) -> None:
            self.example.say(subject, Operation.STUB, world.whole(subject, patch), at)

        @rule(subject=subjects, at=instants)
        def delete(self, subject: int, at: datetime) -> None:
            self.example.say(subject, Operation.DELETE, None, at)

        @rule(subject=subjects, at=instants)
        def restore(self, subject: int, at: datetime) -> None:
            last = [it for it in fold(self.example.logs[subject]) if it.valid_from <= at]
            if last:
                bench.run(asset.restore(self.example.connection, world.kind, self.example.uids[subject], at=at))
                self.example.hear(subject, AcceptedChange(at.astimezone(UTC), Operation.SET, last[-1].state))

        @rule(subject=subjects, data=st.data())
        def replay(self, subject: int, data: st.DataObject) -> None:
            log = self.example.logs[subject]
            if log:
                said = data.draw(st.sampled_from([it for it in log if it == [x for x in log if x.at == it.at][-1]]))
                assert self.example.say(subject, said.operation, said.payload, said.at) is not None

        @rule(
            batch=st.lists(
                st.tuples(subjects, st.sampled_from(Operation), world.states, world.patches, instants), min_size=1, max_size=12
            )
        )
        def several(self, batch: list[Any]) -> None:
            payloads: dict[Operation, Callable[..., Any]] = {
                Operation.SET: lambda subject, state, _: world.whole(subject, state),
                Operation.STUB: lambda subject, state, _: world.whole(subject, state),
                Operation.PATCH: lambda _, __, patch: patch,
                Operation.DELETE: lambda *_: None,
            }
            self.example.say_several(
                [(subject, said, payloads[said](subject, state, patch), at) for subject, said, state, patch, at in batch]
            )

        @invariant()
        def versions_are_the_fold(self) -> None:
            if hasattr(self, "example"):
                folds = [fold(log) for log in self.example.logs]
                assert self.example.standing() == folds
                if world.kind is ENTITY:
                    assert self.example.details() == [details_of(stretches) for stretches in folds]

        def teardown(self) -> None:
            if hasattr(self, "example"):
                self.example.end()

    return Arrivals


@pytest.mark.parametrize("world", WORLDS, ids=repr)
def test_any_arrival_order_folds_to_the_same_versions(bench: Bench, world: World) -> None:
    run_state_machine_as_test(
        machine_for(bench, world),
        settings=settings(stateful_step_count=30, suppress_health_check=list(HealthCheck)),
    )


def changes_of(world: World) -> st.SearchStrategy[list[Any]]:
    change = st.one_of(
        st.tuples(st.sampled_from([Operation.SET, Operation.STUB]), world.states, st.integers(0, 5)),
        st.tuples(st.just(Operation.PATCH), world.patches, st.integers(0, 5)),
    )
    return st.lists(change, min_size=2, max_size=6)


@pytest.mark.parametrize("world", WORLDS, ids=repr)
@settings(suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_two_arrival_orders_end_in_the_same_history(bench: Bench, world: World, data: st.DataObject) -> None:
    """The first state arrives first; what follows arrives as it likes, but for changes of one instant among themselves."""
    changes = data.draw(changes_of(world))
    order = data.draw(st.permutations(range(len(changes))))
    by_instant: dict[int, list[int]] = {}
    for number in order:
        by_instant.setdefault(changes[number][2], []).append(number)
    kept = {instant: iter(sorted(numbers)) for instant, numbers in by_instant.items()}
    shuffled = [next(kept[changes[number][2]]) for number in order]
    assume(shuffled != sorted(shuffled))
    histories = [heard_in(bench, world, changes, arrival) for arrival in (sorted(shuffled), shuffled)]
    assert histories[0] == histories[1]


def heard_in(bench: Bench, world: World, changes: list[Any], arrival: list[int]) -> list[Period]:
    example = Example(bench, world)
    try:
        example.say(0, Operation.SET, world.whole(0, {}), START - timedelta(days=1))
        for number in arrival:
            operation, patch, hours = changes[number]
            payload = patch if operation is Operation.PATCH else world.whole(0, patch)
            example.say(0, operation, payload, START + timedelta(hours=hours))
        return example.standing()[0]
    finally:
        example.leave()

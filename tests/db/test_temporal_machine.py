"""Any arrival order of the same accepted changes gives the same versions as a plain fold of them."""

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import text

from db import asset
from db.connection import Author, Database, WriteConnection
from db.errors import HeadwaterError, NotFound
from db.product import PRODUCT, products_by_uid, restore
from db.temporal import Assertion, Operation, Outcome, record
from db.verification import verify_tenant
from tests.builders import START
from tests.conftest import MIGRATED, own_database
from tests.db.model import Said, Stretch, apply, fold, state_at

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
# Few values, so that changes often change nothing, and change back.
patches = st.fixed_dictionaries(
    {},
    optional={
        "owner": st.sampled_from(["ann", "bob"]),
        "description": st.sampled_from([None, "old", "new"]),
        "tags": st.sampled_from([[], ["a"], ["a", "b"]]),
        "schema": st.sampled_from([{}, {"a": 1}, {"b": [None, 1.5, "x"]}]),
    },
)
subjects = st.integers(0, 2)

_VERSIONS = text(
    "SELECT asset_id, valid_from, NULLIF(valid_to, 'infinity') AS valid_to, name, domain, owner, description, schema, status,"
    " version, tags FROM product_version WHERE tenant_id = CAST(:tenant AS bigint) ORDER BY asset_id, valid_from"
)
_ADD_DOMAIN = text("INSERT INTO domain (tenant_id, name) VALUES (CAST(:tenant AS bigint), 'sales') ON CONFLICT DO NOTHING")


def whole(subject: int, patch: dict[str, Any]) -> dict[str, Any]:
    """A whole state. Names differ, for they are no concern of this test."""
    state: dict[str, Any] = {
        "domain": "sales",
        "owner": "ann",
        "description": None,
        "schema": {},
        "status": "ACTIVE",
        "version": "1.0.0",
        "tags": [],
    }
    return {"name": f"product {subject}", **state, **patch}


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
    with asyncio.Runner() as outer:
        opened = own_database(server, MIGRATED)
        address = outer.run(opened.__aenter__())
        bench = Bench(address)
        yield bench
        bench.close()
        outer.run(opened.__aexit__(None, None, None))


class Example:
    """Three products that nothing was said of yet, and what was said since, as the model has it."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.transaction = contextlib.AsyncExitStack()
        self.connection: WriteConnection = bench.run(
            self.transaction.enter_async_context(bench.database.transaction(1, Author("machine")))
        )
        bench.run(self.connection.execute(_ADD_DOMAIN))
        self.uids = [uuid4() for _ in range(3)]
        self.ids = [bench.run(asset.add_or_lock(self.connection, PRODUCT, uid)) for uid in self.uids]
        self.logs: list[list[Said]] = [[], [], []]

    def say(self, subject: int, operation: Operation, payload: dict[str, Any] | None, at: datetime) -> Outcome | None:
        """Assert something, and expect of it what the model says: refusal, replay, or a change."""
        log = self.logs[subject]
        said = Said(at.astimezone(UTC), operation, payload)
        there = [it for it in log if it.at == said.at]
        before = state_at(log, said.at)
        replay = bool(there) and there[-1] == said
        missing = not replay and (
            (operation is Operation.PATCH and before is None)
            or (operation is Operation.DELETE and not any(it.at <= said.at for it in log))
        )
        try:
            (outcome,) = self.bench.run(record(self.connection, PRODUCT, [Assertion(self.ids[subject], operation, payload, at)]))
        except NotFound:
            assert missing
            return None
        assert not missing
        assert outcome.at == said.at
        if not replay:
            assert outcome.changed == (apply(before, said) != before)
            log.append(said)
        return Outcome(outcome.subject_id, outcome.at, outcome.changed)

    def standing(self) -> list[list[Stretch]]:
        """The versions as the database has them."""
        found: dict[int, list[Stretch]] = {it: [] for it in self.ids}
        for row in self.bench.run(self.connection.fetch(_VERSIONS)):
            state = {name: getattr(row, name) for name in PRODUCT.fields}
            found[row.asset_id].append(Stretch(row.valid_from, row.valid_to, state))
        return list(found.values())

    def end(self) -> None:
        """Look around every instant at which anything was said, then leave no trace."""
        for subject, log in enumerate(self.logs):
            for at in {it.at for it in log}:
                for instant in (at - MICROSECOND, at, at + MICROSECOND):
                    (row,) = self.bench.run(products_by_uid(self.connection, [self.uids[subject]], instant))
                    seen = None if row is None else {name: getattr(row, name) for name in PRODUCT.fields}
                    assert seen == state_at(log, instant)
        report = self.bench.run(verify_tenant(self.connection))
        assert [it for it in report.differences if "says nothing" not in it] == []
        self.leave()

    def leave(self) -> None:
        abandoned = HeadwaterError("nothing of it is kept")
        with contextlib.suppress(HeadwaterError):
            self.bench.run(self.transaction.__aexit__(HeadwaterError, abandoned, None))


def machine_for(bench: Bench) -> type[RuleBasedStateMachine]:
    class Arrivals(RuleBasedStateMachine):
        """Changes in any order of arrival."""

        @initialize()
        def begin(self) -> None:
            self.example = Example(bench)

        @rule(subject=subjects, patch=patches, at=instants)
        def set(self, subject: int, patch: dict[str, Any], at: datetime) -> None:
            self.example.say(subject, Operation.SET, whole(subject, patch), at)

        @rule(subject=subjects, patch=patches, at=instants)
        def patch(self, subject: int, patch: dict[str, Any], at: datetime) -> None:
            self.example.say(subject, Operation.PATCH, patch, at)

        @rule(subject=subjects, at=instants)
        def delete(self, subject: int, at: datetime) -> None:
            self.example.say(subject, Operation.DELETE, None, at)

        @rule(subject=subjects, at=instants)
        def restore(self, subject: int, at: datetime) -> None:
            last = [it for it in fold(self.example.logs[subject]) if it.valid_from <= at]
            if last:
                said = Said(at.astimezone(UTC), Operation.SET, last[-1].state)
                there = [it for it in self.example.logs[subject] if it.at == said.at]
                bench.run(restore(self.example.connection, self.example.uids[subject], at=at))
                if not there or there[-1] != said:
                    self.example.logs[subject].append(said)

        @rule(subject=subjects, data=st.data())
        def replay(self, subject: int, data: st.DataObject) -> None:
            log = self.example.logs[subject]
            if log:
                said = data.draw(st.sampled_from([it for it in log if it == [x for x in log if x.at == it.at][-1]]))
                assert self.example.say(subject, said.operation, said.payload, said.at) is not None

        @rule(patch=patches, at=instants)
        def batch(self, patch: dict[str, Any], at: datetime) -> None:
            payloads = [whole(subject, patch) for subject in range(3)]
            assertions = [
                Assertion(asset_id, Operation.SET, payload, at)
                for asset_id, payload in zip(self.example.ids, payloads, strict=True)
            ]
            bench.run(record(self.example.connection, PRODUCT, assertions))
            for log, payload in zip(self.example.logs, payloads, strict=True):
                said = Said(at.astimezone(UTC), Operation.SET, payload)
                if [it for it in log if it.at == said.at][-1:] != [said]:
                    log.append(said)

        @invariant()
        def versions_are_the_fold(self) -> None:
            if hasattr(self, "example"):
                assert self.example.standing() == [fold(log) for log in self.example.logs]

        def teardown(self) -> None:
            if hasattr(self, "example"):
                self.example.end()

    return Arrivals


def test_any_arrival_order_folds_to_the_same_versions(bench: Bench) -> None:
    run_state_machine_as_test(
        machine_for(bench),
        settings=settings(
            max_examples=500, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
        ),
    )


_CHANGES = st.lists(
    st.tuples(st.sampled_from([Operation.SET, Operation.PATCH]), patches, st.integers(0, 5)), min_size=2, max_size=6
)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=_CHANGES, data=st.data())
def test_two_arrival_orders_end_in_the_same_history(bench: Bench, changes: list[Any], data: st.DataObject) -> None:
    """The first state arrives first; what follows arrives as it likes, but for changes of one instant among themselves."""
    order = data.draw(st.permutations(range(len(changes))))
    by_instant: dict[int, list[int]] = {}
    for number in order:
        by_instant.setdefault(changes[number][2], []).append(number)
    kept = {instant: iter(sorted(numbers)) for instant, numbers in by_instant.items()}
    shuffled = [next(kept[changes[number][2]]) for number in order]
    assume(shuffled != sorted(shuffled))
    histories = [heard_in(bench, changes, arrival) for arrival in (sorted(shuffled), shuffled)]
    assert histories[0] == histories[1]


def heard_in(bench: Bench, changes: list[Any], arrival: list[int]) -> list[Stretch]:
    example = Example(bench)
    try:
        example.say(0, Operation.SET, whole(0, {}), START - timedelta(days=1))
        for number in arrival:
            operation, patch, hours = changes[number]
            payload = whole(0, patch) if operation is Operation.SET else patch
            example.say(0, operation, payload, START + timedelta(hours=hours))
        return example.standing()[0]
    finally:
        example.leave()

"""Random tests of the change log: the versions equal the model's fold of the accepted changes, in any order of arrival."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from db.assets import asset
from db.assets.entity import entities_by_uid
from db.assets.product import products_by_uid
from db.author import Author
from db.connection import WriteConnection
from db.consistency.lifecycle import record_asset_change, record_asset_changes
from db.errors import Conflict, HeadwaterError, NotFound
from db.sql import compose, text
from db.temporal.change_log import Assertion, Operation, Outcome
from db.temporal.kind import Kind
from db.temporal.kinds import ENTITY, PRODUCT
from db.temporal.verification import verify_tenant
from tests.builders import START
from tests.db.harness import Harness
from tests.db.temporal.model import AcceptedChange, Period, details_of, fold, state_at
from tests.randomness import writing_examples

pytestmark = [pytest.mark.random, pytest.mark.slow(6), pytest.mark.scd2, pytest.mark.temporal]

MICROSECOND = timedelta(microseconds=1)

# Few instants, some of them adjacent, so that changes often share one. Each has a random offset, which must not matter.
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
class Scenario:
    """A kind with strategies of its payloads. Few values, so that changes often have no effect, or revert one another."""

    kind: Kind
    type: str | None
    start: dict[str, Any]
    patches: st.SearchStrategy[dict[str, Any]]
    # changes of the start state that give a whole state
    states: st.SearchStrategy[dict[str, Any]]
    read: Callable[..., Any]

    def state(self, subject: int, patch: dict[str, Any]) -> dict[str, Any]:
        """Build a whole state of a subject. Names of products have to be unique."""
        name = {"name": f"product {subject}"} if self.kind is PRODUCT else {}
        return {**self.start, **name, **self.patch(subject, patch)}

    def stub(self, subject: int, patch: dict[str, Any]) -> dict[str, Any]:
        """Build the state of a stub, which has all fields, also the keys of an entity."""
        keys: dict[str, Any] = {"keys": []} if self.kind is ENTITY else {}
        return {**keys, **self.state(subject, patch)}

    def patch(self, subject: int, patch: dict[str, Any]) -> dict[str, Any]:
        """Build a patch of a subject. Keys have to be unique."""
        if "keys" not in patch:
            return patch
        keys = patch["keys"]
        if isinstance(keys, list):
            return {**patch, "keys": [_key(subject, it) for it in keys]}
        primary = {"primary": keys["primary"] and _key(subject, keys["primary"])} if "primary" in keys else {}
        others = {name: [_key(subject, it) for it in keys[name]] for name in ("add", "remove") if name in keys}
        return {**patch, "keys": {**primary, **others}}

    def __repr__(self) -> str:
        return self.kind.name


_product_fields = st.fixed_dictionaries(
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
# Kinds of keys, which `_key` completes: the last two are the same UUID.
_keys = st.sampled_from(["a", "b", "uuid", "UUID"])
_key_lists = st.lists(_keys, max_size=3, unique_by=str.lower)
_key_patches = st.fixed_dictionaries({}, optional={"primary": st.none() | _keys, "add": _key_lists, "remove": _key_lists})


def _key(subject: int, key: str) -> str:
    """Return a key of a subject."""
    uuid = UUID(int=subject)
    return {"uuid": str(uuid), "UUID": uuid.hex.upper()}.get(key, f"{key} {subject}")


SCENARIOS = [
    Scenario(PRODUCT, None, _PRODUCT_START, _product_fields, _product_fields, products_by_uid),
    Scenario(
        ENTITY,
        "PERSON",
        {"display_name": "ann", "details": {}},
        st.fixed_dictionaries(
            {},
            optional={
                "display_name": _names,
                "details": st.dictionaries(_codes, st.none() | _values, max_size=3),
                "keys": _key_patches,
            },
        ),
        st.fixed_dictionaries(
            {}, optional={"display_name": _names, "details": st.dictionaries(_codes, _values, max_size=3), "keys": _key_lists}
        ),
        entities_by_uid,
    ),
]
_REGISTRIES = [
    "INSERT INTO domain (tenant_id, name) VALUES (CAST(:tenant AS bigint), 'sales') ON CONFLICT DO NOTHING",
    "INSERT INTO entity_type (tenant_id, code, label) VALUES (CAST(:tenant AS bigint), 'PERSON', '') ON CONFLICT DO NOTHING",
    "INSERT INTO detail_type (tenant_id, code, label, format) SELECT CAST(:tenant AS bigint), code, '', format"
    " FROM (VALUES ('email', NULL), ('phone', 'text'), ('size', 'number')) AS t (code, format) ON CONFLICT DO NOTHING",
]
_DETAILS = text(
    "SELECT asset_id, detail_type, value, number, valid_from, NULLIF(valid_to, 'infinity') AS valid_to FROM entity_detail"
    " WHERE tenant_id = CAST(:tenant AS bigint) ORDER BY detail_type, valid_from"
)


class Example:
    """Three subjects, and the changes of each that the model accepted."""

    def __init__(self, harness: Harness, scenario: Scenario) -> None:
        self.harness = harness
        self.scenario = scenario
        self.kind = scenario.kind
        self.transaction = contextlib.AsyncExitStack()
        self.connection: WriteConnection = harness.run(
            self.transaction.enter_async_context(harness.database.transaction(1, Author("machine")))
        )
        for statement in _REGISTRIES:
            harness.run(self.connection.execute(text(statement)))
        self.uids = [uuid4() for _ in range(3)]
        self.ids = [
            harness.run(asset.add_or_lock(self.connection, scenario.kind, asset.IdentitySpec(uid, scenario.type))).asset_id
            for uid in self.uids
        ]
        self.logs: list[list[AcceptedChange]] = [[], [], []]

    def record(self, subject: int, operation: Operation, payload: dict[str, Any] | None, at: datetime) -> Outcome | None:
        """Record a change, and compare its outcome with the verdict of the model."""
        change = AcceptedChange(at.astimezone(UTC), operation, payload)
        expected = self.judge(subject, change)
        try:
            assertion = Assertion(self.ids[subject], operation, payload, at)
            (outcome,) = self.harness.run(record_asset_change(self.connection, self.kind, [assertion]))
        except NotFound:
            assert expected == "not found"
            return None
        assert expected != "not found"
        assert outcome.at == change.at
        assert outcome.replayed == (expected == "replayed")
        if expected != "replayed":
            assert outcome.changed == (expected == "changed")
        return Outcome(outcome.subject_id, outcome.at, outcome.changed)

    def record_batch(self, batch: Sequence[tuple[int, Operation, dict[str, Any] | None, datetime]]) -> None:
        """Record a batch. Changes are judged in the order of their instants; at one instant the first of a subject counts."""
        expected: dict[int, str] = {}
        first: dict[tuple[int, datetime], int] = {}
        for index in sorted(range(len(batch)), key=lambda it: (batch[it][3], it)):
            subject, operation, payload, at = batch[index]
            change = AcceptedChange(at.astimezone(UTC), operation, payload)
            first_index = first.setdefault((subject, change.at), index)
            if first_index == index:
                expected[index] = self.judge(subject, change)
            elif batch[first_index][1:3] != (operation, payload):
                expected[index] = "contradictory"
            else:
                expected[index] = "not found" if expected[first_index] == "not found" else "replayed"
        assertions = [Assertion(self.ids[subject], operation, payload, at) for subject, operation, payload, at in batch]
        outcomes = self.harness.run(record_asset_changes(self.connection, self.kind, assertions)).outcomes
        for index, outcome in enumerate(outcomes):
            match expected[index]:
                case "not found":
                    assert isinstance(outcome, NotFound)
                case "contradictory":
                    assert isinstance(outcome, Conflict)
                case "replayed":
                    assert outcome.replayed
                case verdict:
                    assert not outcome.replayed
                    assert outcome.changed == (verdict == "changed")

    def judge(self, subject: int, change: AcceptedChange) -> str:
        """Return the verdict of the model, and append the change to its log if it is accepted."""
        log = self.logs[subject]
        at_instant = [it for it in log if it.at == change.at]
        if at_instant and at_instant[-1] == change:
            return "replayed"
        before = state_at(log, change.at)
        if (change.operation is Operation.PATCH and before is None) or (
            change.operation is Operation.DELETE and not any(it.at <= change.at for it in log)
        ):
            return "not found"
        log.append(change)
        return "changed" if state_at(log, change.at) != before else "unchanged"

    def versions(self) -> list[list[Period]]:
        """Read the versions of each subject from the database."""
        periods: dict[int, list[Period]] = {it: [] for it in self.ids}
        columns = self.kind.versions.c
        versions = self.kind.versions.select().where(columns.tenant_id == 1).order_by(columns.asset_id, columns.valid_from)
        for row in self.harness.run(self.connection.fetch(compose(versions))):
            state = {name: row[name] for name in self.kind.fields}
            until = None if row.valid_to.year == 9999 else row.valid_to
            periods[row.asset_id].append(Period(row.valid_from, until, state))
            assert row.created_at == periods[row.asset_id][0].valid_from
        return list(periods.values())

    def details(self) -> list[list[Any]]:
        """Read the details of each subject from the database."""
        details: dict[int, list[Any]] = {it: [] for it in self.ids}
        for row in self.harness.run(self.connection.fetch(_DETAILS)):
            details[row.asset_id].append((row.detail_type, row.value, row.valid_from, row.valid_to))
            assert row.number == (float(row.value) if row.detail_type == "size" else None)
        return list(details.values())

    def check_and_close(self) -> None:
        """Read around every instant of a change, verify the tenant, and roll back."""
        try:
            changed_at = {it.at for log in self.logs for it in log}
            for instant in {at + distance for at in changed_at for distance in (-MICROSECOND, timedelta(0), MICROSECOND)}:
                rows = self.harness.run(self.scenario.read(self.connection, self.uids, instant))
                states = [row and {name: row[name] for name in self.kind.fields} for row in rows]
                assert states == [state_at(log, instant) for log in self.logs]
            report = self.harness.run(verify_tenant(self.connection))
            # A subject without a change is locked, and none of its changes was accepted.
            assert [it for it in report.differences if "has no change" not in it] == []
        finally:
            self.close()

    def close(self) -> None:
        rollback = HeadwaterError("rolled back")
        with contextlib.suppress(HeadwaterError):
            self.harness.run(self.transaction.__aexit__(HeadwaterError, rollback, None))


def machine_for(harness: Harness, scenario: Scenario) -> type[RuleBasedStateMachine]:
    class Arrivals(RuleBasedStateMachine):
        """Changes that arrive in any order."""

        @initialize()
        def begin(self) -> None:
            self.example = Example(harness, scenario)

        @rule(subject=subjects, patch=scenario.states, at=instants)
        def set(self, subject: int, patch: dict[str, Any], at: datetime) -> None:
            self.example.record(subject, Operation.SET, scenario.state(subject, patch), at)

        @rule(subject=subjects, patch=scenario.patches, at=instants)
        def patch(self, subject: int, patch: dict[str, Any], at: datetime) -> None:
            self.example.record(subject, Operation.PATCH, scenario.patch(subject, patch), at)

        @rule(subject=subjects, patch=scenario.states, at=instants)
        def stub(self, subject: int, patch: dict[str, Any], at: datetime) -> None:
            self.example.record(subject, Operation.STUB, scenario.stub(subject, patch), at)

        @rule(subject=subjects, at=instants)
        def delete(self, subject: int, at: datetime) -> None:
            self.example.record(subject, Operation.DELETE, None, at)

        @rule(subject=subjects, at=instants)
        def restore(self, subject: int, at: datetime) -> None:
            periods = [it for it in fold(self.example.logs[subject]) if it.valid_from <= at]
            if periods:
                harness.run(asset.restore(self.example.connection, scenario.kind, self.example.uids[subject], at=at))
                self.example.judge(subject, AcceptedChange(at.astimezone(UTC), Operation.SET, periods[-1].state))

        @rule(subject=subjects, data=st.data())
        def replay(self, subject: int, data: st.DataObject) -> None:
            log = self.example.logs[subject]
            if log:
                change = data.draw(st.sampled_from([it for it in log if it == [x for x in log if x.at == it.at][-1]]))
                assert self.example.record(subject, change.operation, change.payload, change.at) is not None

        @rule(
            batch=st.lists(
                st.tuples(subjects, st.sampled_from(Operation), scenario.states, scenario.patches, instants),
                min_size=1,
                max_size=12,
            )
        )
        def batch(self, batch: list[Any]) -> None:
            payloads: dict[Operation, Callable[..., Any]] = {
                Operation.SET: lambda subject, state, _: scenario.state(subject, state),
                Operation.STUB: lambda subject, state, _: scenario.stub(subject, state),
                Operation.PATCH: lambda subject, _, patch: scenario.patch(subject, patch),
                Operation.DELETE: lambda *_: None,
            }
            self.example.record_batch(
                [
                    (subject, operation, payloads[operation](subject, state, patch), at)
                    for subject, operation, state, patch, at in batch
                ]
            )

        @invariant()
        def versions_equal_the_fold(self) -> None:
            if hasattr(self, "example"):
                folds = [fold(log) for log in self.example.logs]
                assert self.example.versions() == folds
                if scenario.kind is ENTITY:
                    assert self.example.details() == [details_of(periods) for periods in folds]

        def teardown(self) -> None:
            if hasattr(self, "example"):
                self.example.check_and_close()

    return Arrivals


@pytest.mark.parametrize("scenario", SCENARIOS, ids=repr)
def test_any_arrival_order_folds_to_the_same_versions(harness: Harness, scenario: Scenario) -> None:
    run_state_machine_as_test(
        machine_for(harness, scenario),
        settings=writing_examples(stateful_step_count=30),
    )


def changes_of(scenario: Scenario) -> st.SearchStrategy[list[Any]]:
    change = st.one_of(
        st.tuples(st.sampled_from([Operation.SET, Operation.STUB]), scenario.states, st.integers(0, 5)),
        st.tuples(st.just(Operation.PATCH), scenario.patches, st.integers(0, 5)),
    )
    return st.lists(change, min_size=2, max_size=6)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=repr)
@writing_examples()
@given(data=st.data())
def test_two_arrival_orders_end_in_the_same_history(harness: Harness, scenario: Scenario, data: st.DataObject) -> None:
    """The first state arrives first. The other changes arrive in any order, except that those of one instant keep theirs."""
    changes = data.draw(changes_of(scenario))
    order = data.draw(st.permutations(range(len(changes))))
    by_instant: dict[int, list[int]] = {}
    for index in order:
        by_instant.setdefault(changes[index][2], []).append(index)
    in_order = {instant: iter(sorted(indexes)) for instant, indexes in by_instant.items()}
    shuffled = [next(in_order[changes[index][2]]) for index in order]
    assume(shuffled != sorted(shuffled))
    histories = [history_of(harness, scenario, changes, arrival) for arrival in (sorted(shuffled), shuffled)]
    assert histories[0] == histories[1]


def history_of(harness: Harness, scenario: Scenario, changes: list[Any], arrival: list[int]) -> list[Period]:
    """Record changes of one subject in an order of arrival, and return its versions."""
    example = Example(harness, scenario)
    try:
        example.record(0, Operation.SET, scenario.state(0, {}), START - timedelta(days=1))
        for index in arrival:
            operation, patch, hours = changes[index]
            payload = scenario.patch(0, patch) if operation is Operation.PATCH else scenario.state(0, patch)
            example.record(0, operation, payload, START + timedelta(hours=hours))
        return example.versions()[0]
    finally:
        example.close()

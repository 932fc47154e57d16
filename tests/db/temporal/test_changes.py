"""Tests of changes and differences: they equal those of the model, and a page reads no more rows than it needs."""

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from db.assets import asset, product
from db.assets.reference import AssetRef
from db.author import Author
from db.connection import WriteConnection
from db.consistency.lifecycle import record_asset_change
from db.database import Database
from db.errors import HeadwaterError, NotFound
from db.pagination import Page, Slice
from db.sql import text
from db.temporal.change_log import Assertion, Operation, raise_first_error, record_changes
from db.temporal.change_query import GROUPS, ChangeKind, ChangeQuery, SubjectTypes
from db.temporal.changes import ChangeRow, count_changes, list_changes
from db.temporal.changes import cursor_key as change_key
from db.temporal.differences import DifferenceKind, DifferenceRow, count_differences, list_differences
from db.temporal.differences import cursor_key as difference_key
from db.temporal.history import changed_fields
from db.temporal.kind import Kind
from db.temporal.kinds import ENTITY, KIND_OF, LINK, PRODUCT, RELATIONSHIP
from tests.builders import START, day, product_fields
from tests.db.harness import Harness
from tests.db.temporal.model import AcceptedChange, Period, State, apply, fold, state_at
from tests.randomness import writing_examples

pytestmark = [pytest.mark.temporal]

MICROSECOND = timedelta(microseconds=1)

_REGISTRIES = [
    "INSERT INTO domain (tenant_id, name) SELECT CAST(:tenant AS bigint), name FROM unnest(ARRAY['sales', 'web', 'hr']) name",
    "INSERT INTO entity_type (tenant_id, code, label, domain) VALUES (CAST(:tenant AS bigint), 'PERSON', '', 'hr')",
    "INSERT INTO detail_type (tenant_id, code, label) SELECT CAST(:tenant AS bigint), code, '' FROM unnest(ARRAY['a', 'b']) code",
    "INSERT INTO relationship_type (tenant_id, origin, key, related, reverse_key, cardinality, on_delete)"
    " VALUES (CAST(:tenant AS bigint), 'PRODUCT', 'steward', 'PERSON', 'stewards', 'MANY_TO_MANY', 'CLOSE')",
]
_ADD_LINK = text(
    "INSERT INTO lineage_link (tenant_id, uid, source_id, target_id)"
    " VALUES (CAST(:tenant AS bigint), :uid, :near, :far) RETURNING id"
)
_ADD_RELATIONSHIP = text(
    "INSERT INTO relationship (tenant_id, uid, type_id, origin_id, related_id, one_origin, one_related)"
    " SELECT CAST(:tenant AS bigint), :uid, t.id, :near, :far, t.one_origin, t.one_related"
    " FROM relationship_type t WHERE t.tenant_id = CAST(:tenant AS bigint) RETURNING id, type_id"
)

# Few instants, two of them adjacent, few values and few actors, so that changes often share them.
_instants = st.sampled_from([START, START + MICROSECOND, *(START + timedelta(hours=hours) for hours in range(1, 4))])
_owners = st.sampled_from(["ann", "bob"])
_values = st.sampled_from(["1", "2"])
_codes = st.sampled_from(["a", "b"])
_actors = st.sampled_from(["one", "two", "three"])
_step = st.tuples(
    st.integers(0, 4), st.sampled_from(["SET", "SET", "PATCH", "DELETE", "RESTORE"]), _owners, _codes, _values, _instants, _actors
)
_window = st.tuples(_instants, _instants).filter(lambda it: it[0] < it[1])
_filters: dict[str, st.SearchStrategy[Any]] = {
    "kinds": st.sampled_from([some for number in range(5) for some in combinations(ChangeKind, number)]),
    "assets": st.lists(st.integers(0, 3), max_size=2),
    "types": st.sampled_from([some for number in range(4) for some in combinations(["PERSON", "steward", "DIRECT"], number)]),
    "domains": st.sampled_from([(), ("sales",), ("web",), ("hr", "none")]),
    "requests": st.sampled_from([(), ("request of one",), ("request of two", "request of three")]),
    "actors": st.sampled_from([some for number in range(3) for some in combinations(["one", "two", "three"], number)]),
}
_filter = st.one_of(
    *(st.fixed_dictionaries({name: values}) for name, values in _filters.items()), st.fixed_dictionaries({}, optional=_filters)
)
_subjects = st.sampled_from([some for number in (1, 2, 4) for some in combinations(KIND_OF, number)])
_question = st.tuples(_window, st.integers(1, 4), _subjects, _filter)


@dataclass(frozen=True)
class LogEntry:
    """An accepted change with its place in the log, its actor, and whether it had an effect when it was recorded."""

    change: AcceptedChange
    seq: int
    changed: bool
    actor: str


@dataclass
class Subject:
    """An asset of an example, or an association with its ends, and its accepted changes in the order of their recording."""

    kind: Kind
    subject_id: int
    uid: UUID
    log: list[LogEntry] = field(default_factory=list)
    ends: tuple["Subject", ...] = ()
    type_id: int | None = None

    @property
    def changes(self) -> list[AcceptedChange]:
        return [it.change for it in self.log]

    @property
    def instants(self) -> list[datetime]:
        """The instants at which the subject or one of its ends may have changed."""
        return sorted({entry.change.at for it in (self, *self.ends) for entry in it.log})

    def state_at(self, instant: datetime) -> State | None:
        """Return the state at an instant. An association has one only while both of its ends exist."""
        if any(end.state_at(instant) is None for end in self.ends):
            return None
        return state_at(self.changes, instant)

    @property
    def periods(self) -> list[Period]:
        """The periods in which the subject existed with one state."""
        found: list[Period] = []
        before: State | None = None
        for instant in self.instants:
            state = self.state_at(instant)
            if state == before:
                continue
            if before is not None:
                found[-1] = replace(found[-1], valid_to=instant)
            if state is not None:
                found.append(Period(instant, None, state))
            before = state
        return found

    def causes_at(self, instant: datetime) -> list[LogEntry]:
        """Return the log entries that changed the subject at an instant: its own, or those that began or ended the lifetime of
        an end while it was asserted before and after."""
        before, after = state_at(self.changes, instant - MICROSECOND), state_at(self.changes, instant)
        own = [it for it in self.log if it.change.at == instant]
        ends = [it for it in self.ends if (it.state_at(instant - MICROSECOND) is None) != (it.state_at(instant) is None)]
        if before is None or after is None or not ends:
            return own
        return [it for end in ends for it in end.log if it.change.at == instant]

    def state(self, owner: str, code: str, value: str) -> State:
        if self.kind is ENTITY:
            return {"display_name": owner, "details": {code: value}, "keys": [code]}
        if self.kind is LINK:
            type_ = "DIRECT" if code == "a" else "DERIVED"
            return {"type": type_, "transformation": owner, "confidence": 1.0, "metadata": {code: value}}
        if self.kind is RELATIONSHIP:
            return {"attributes": {code: value}}
        return product_fields(
            f"product {self.subject_id}",
            domain="sales" if owner == "ann" else "web",
            owner=owner,
            description=value,
            schema={code: value},
            tags=[],
            status="ACTIVE",
            version="1.0.0",
        )

    def patch(self, owner: str, code: str, value: str) -> State:
        if self.kind is ENTITY:
            return {"details": {code: None if owner == "ann" else value}}
        if self.kind is PRODUCT:
            return {"owner": owner}
        return {"attributes": {code: value}} if self.kind is RELATIONSHIP else {"transformation": owner}

    def has_type(self, types: Sequence[str], states: Sequence[State | None]) -> bool:
        if self.kind is LINK:
            return any(it is not None and it["type"] in types for it in states)
        return {ENTITY: "PERSON", RELATIONSHIP: "steward"}.get(self.kind) in types

    def is_in(self, domains: Sequence[str], instants: Sequence[datetime]) -> bool:
        if self.ends:
            return any(end.is_in(domains, instants) for end in self.ends)
        if self.kind is ENTITY:
            return "hr" in domains
        return any((state := self.state_at(it)) is not None and state["domain"] in domains for it in instants)


async def create_subjects(connection: WriteConnection) -> list[Subject]:
    """Create two products, an entity, a link between the products, and a relationship of a product and the entity, all without
    changes yet."""
    for statement in _REGISTRIES:
        await connection.execute(text(statement))
    subjects = []
    for kind, type_ in ((PRODUCT, None), (ENTITY, "PERSON"), (PRODUCT, None)):
        uid = uuid4()
        subjects.append(Subject(kind, (await asset.add_or_lock(connection, kind, asset.IdentitySpec(uid, type_))).asset_id, uid))
    for kind, adding, ends in (
        (LINK, _ADD_LINK, (subjects[0], subjects[2])),
        (RELATIONSHIP, _ADD_RELATIONSHIP, (subjects[0], subjects[1])),
    ):
        uid = uuid4()
        (row,) = await connection.fetch(adding, {"uid": uid, "near": ends[0].subject_id, "far": ends[1].subject_id})
        subjects.append(Subject(kind, row.id, uid, ends=ends, type_id=row.get("type_id")))
    return subjects


async def record(
    connection: WriteConnection, subject: Subject, operation: str, payload: State | None, at: datetime, seq: int
) -> None:
    """Record a change, and append it to the log of the model if it is accepted and not a replay.

    There is no association of assets that were never recorded.
    """
    if not all(end.log for end in subject.ends):
        return
    if operation == "RESTORE":
        periods = [it for it in fold(subject.changes) if it.valid_from <= at]
        if not periods:
            return
        operation, payload = "SET", periods[-1].state
    change = AcceptedChange(at, Operation(operation), None if operation == "DELETE" else payload)
    before = state_at(subject.changes, at)
    assertion = Assertion(subject.subject_id, change.operation, change.payload, at)
    try:
        if subject.kind.is_asset_kind:
            await record_asset_change(connection, subject.kind, [assertion])
        else:
            raise_first_error(await record_changes(connection, subject.kind, [assertion]))
    except NotFound:
        return
    if [it for it in subject.changes if it.at == at][-1:] != [change]:
        subject.log.append(LogEntry(change, seq, apply(before, change) != before, connection.author.actor))


def fields_of(state: State | None) -> dict[str, Any]:
    """Flatten a state: each detail is a field."""
    found: dict[str, Any] = {}
    for name, value in (state or {}).items():
        found |= {f"details.{code}": part for code, part in value.items()} if name == "details" else {name: value}
    return {name: value for name, value in found.items() if value is not None}


def changed_values(before: State | None, after: State | None) -> dict[str, tuple[Any, Any]]:
    values_before, values_after = fields_of(before), fields_of(after)
    return {
        name: (values_before.get(name), values_after.get(name))
        for name in values_before.keys() | values_after.keys()
        if values_before.get(name) != values_after.get(name)
    }


def changes_by_model(subjects: Sequence[Subject], query: ChangeQuery, selection: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Compute the changes of a query, by looking at every instant of a log entry."""
    found = []
    for subject in subjects:
        for at in subject.instants:
            before, after = subject.state_at(at - MICROSECOND), subject.state_at(at)
            if before == after:
                continue
            cause = max(subject.causes_at(at), key=lambda it: (it.changed, it.seq))
            existed = any(it.valid_from < at for it in subject.periods)
            kind = "UPDATED" if before and after else "DELETED" if before else "RESTORED" if existed else "CREATED"
            periods = [(it.valid_from, it.valid_to, it.state) for it in subject.periods if at in (it.valid_to, it.valid_from)]
            if (
                query.since <= at < query.until
                and is_selected(query, selection, subject, [kind], [at - MICROSECOND, at])
                and all(of_author(cause, name) in values for name, values in authors_of(query))
            ):
                fields = changed_values(before, after)
                found.append((at, GROUPS[subject.kind], subject.subject_id, subject.uid, kind, cause.actor, fields, periods))
    return sorted(found, key=lambda it: it[:3])


def differences_by_model(subjects: Sequence[Subject], query: ChangeQuery, selection: dict[str, Any]) -> list[tuple[Any, ...]]:
    found = []
    for subject in subjects:
        before, after = subject.state_at(query.since), subject.state_at(query.until)
        if before == after:
            continue
        # those of an end count only if its lifetime begins or ends with them
        entries = subject.log + [
            entry
            for end in subject.ends
            for entry in end.log
            if (end.state_at(entry.change.at - MICROSECOND) is None) != (end.state_at(entry.change.at) is None)
        ]
        between = [it for it in entries if query.since < it.change.at <= query.until]
        kind = "CHANGED" if before and after else "REMOVED" if before else "ADDED"
        kinds = {"CHANGED": ["UPDATED"], "REMOVED": ["DELETED"], "ADDED": ["CREATED", "RESTORED"]}[kind]
        is_by = all(any(of_author(it, name) in values for it in between) for name, values in authors_of(query))
        if is_by and is_selected(query, selection, subject, kinds, [query.since, query.until]):
            fields = changed_values(before, after)
            found.append((GROUPS[subject.kind], subject.subject_id, subject.uid, kind, before, after, fields))
    return sorted(found, key=lambda it: it[:2])


def authors_of(query: ChangeQuery) -> list[tuple[str, tuple[str, ...]]]:
    return [(name, values) for name in ("actors", "requests") if (values := getattr(query, name)) is not None]


def of_author(entry: LogEntry, name: str) -> str:
    return entry.actor if name == "actors" else f"request of {entry.actor}"


def is_selected(
    query: ChangeQuery, selection: dict[str, Any], subject: Subject, kinds: Sequence[str], instants: Sequence[datetime]
) -> bool:
    """Return True if the filters select a subject that changed so, with its states at these instants."""
    assets = {subject.subject_id} if not subject.ends else {it.subject_id for it in subject.ends}
    states = [subject.state_at(it) for it in instants]
    return (
        subject.kind.name in query.subjects
        and (query.kinds is None or bool(set(kinds) & set(query.kinds)))
        and (query.assets is None or bool(assets & set(query.assets)))
        and ("types" not in selection or subject.has_type(selection["types"], states))
        and (query.domains is None or subject.is_in(query.domains, instants))
    )


def change_tuple(row: ChangeRow) -> tuple[Any, ...]:
    sides = [it for it in (row.before, row.after) if it is not None]
    assert all(it.as_of == it.valid_from for it in sides)
    periods = [(it.valid_from, it.valid_to, it.state) for it in sides]
    fields = {name: (before, after) for name, before, after in row.changed}
    assert (row.credential, row.request_id) == ("none", f"request of {row.actor}")
    return (row.at, GROUPS[row.subject_kind], row.subject_id, row.uid, row.kind, row.actor, fields, periods)


def difference_tuple(row: DifferenceRow) -> tuple[Any, ...]:
    fields = {name: (before, after) for name, before, after in row.changed}
    before, after = row.before and row.before.state, row.after and row.after.state
    return (GROUPS[row.subject_kind], row.subject_id, row.uid, row.kind, before, after, fields)


async def read_pages(
    read: Callable[[Page], Awaitable[Slice[Any]]], key: Callable[[Any], tuple[Any, ...]], size: int, *, backward: bool
) -> list[Any]:
    """Read all pages one after another, and return their items in the order of the list."""
    items: list[Any] = []
    page = Page(size, backward=backward)
    while True:
        part = await read(page)
        items = part.items + items if backward else items + part.items
        assert len({key(it) for it in items}) == len(items), "two pages hold the same item"
        if not part.more:
            return items
        assert len(part.items) == size
        edge = key(part.items[0 if backward else -1])
        page = Page(size, backward=backward, before=edge if backward else None, after=None if backward else edge)


async def compare(
    connection: WriteConnection,
    subjects: Sequence[Subject],
    window: tuple[datetime, datetime],
    size: int,
    kinds: tuple[str, ...],
    selection: dict[str, Any],
) -> None:
    """Compare the database with the model, page by page in both directions."""
    ids = [*(it.subject_id for it in subjects[:3]), 2**40]
    filters: dict[str, Any] = {name: tuple(values) for name, values in selection.items()}
    if "assets" in selection:
        filters["assets"] = tuple(ids[number] for number in selection["assets"])
    if "types" in selection:
        types = selection["types"]
        steward = tuple(it.type_id for it in subjects if it.type_id is not None and "steward" in types)
        filters["types"] = SubjectTypes(tuple({"PERSON"} & set(types)), steward, tuple({"DIRECT"} & set(types)))
    query = ChangeQuery(*window, subjects=kinds, **filters)
    changes = changes_by_model(subjects, query, selection)
    differences = differences_by_model(subjects, query, selection)
    for backward in (False, True):
        rows = await read_pages(lambda page: list_changes(connection, query, page), change_key, size, backward=backward)
        assert [change_tuple(it) for it in rows] == changes
        rows = await read_pages(lambda page: list_differences(connection, query, page), difference_key, size, backward=backward)
        assert [difference_tuple(it) for it in rows] == differences
    assert await count_changes(connection, query) == len(changes)
    assert await count_differences(connection, query) == len(differences)


@pytest.mark.random
@writing_examples()
@given(steps=st.lists(_step, min_size=3, max_size=24), questions=st.lists(_question, min_size=1, max_size=6))
@example(
    # two deletions at one instant
    steps=[
        (0, "SET", "ann", "a", "1", START, "one"),
        (0, "DELETE", "ann", "a", "1", START + timedelta(hours=1), "one"),
        (0, "RESTORE", "ann", "a", "1", START + timedelta(hours=1), "two"),
        (0, "DELETE", "ann", "a", "1", START + timedelta(hours=1), "three"),
    ],
    questions=[],
)
@example(
    # a link and a relationship that are asserted before an end exists, changed as it is deleted, and end while it is gone
    steps=[
        (0, "SET", "ann", "a", "1", START, "one"),
        (2, "SET", "ann", "a", "1", START + timedelta(hours=1), "three"),
        (1, "SET", "ann", "a", "1", START + timedelta(hours=1), "three"),
        (3, "SET", "ann", "a", "1", START, "two"),
        (4, "SET", "ann", "a", "1", START, "two"),
        (3, "SET", "bob", "b", "1", START + timedelta(hours=2), "two"),
        (2, "DELETE", "ann", "a", "1", START + timedelta(hours=2), "one"),
        (4, "DELETE", "ann", "a", "1", START + timedelta(hours=2), "two"),
        (1, "DELETE", "ann", "a", "1", START + timedelta(hours=2), "one"),
        (2, "RESTORE", "ann", "a", "1", START + timedelta(hours=3), "three"),
    ],
    questions=[],
)
def test_changes_and_differences_equal_those_of_the_model(harness: Harness, steps: list[Any], questions: list[Any]) -> None:
    async def run() -> None:
        with contextlib.suppress(HeadwaterError):
            async with harness.database.transaction(1, Author("example")) as connection:
                subjects = await create_subjects(connection)
                for seq, (number, operation, owner, code, value, at, actor) in enumerate(steps):
                    connection.author = Author(actor, f"request of {actor}")
                    subject = subjects[number]
                    payload = subject.patch(owner, code, value) if operation == "PATCH" else subject.state(owner, code, value)
                    await record(connection, subject, operation, payload, at.astimezone(UTC), seq)
                everything: Any = ((START - MICROSECOND, START + timedelta(days=1)), 3, tuple(KIND_OF), {})
                for window, size, kinds, filters in [everything, *questions]:
                    await compare(connection, subjects, window, size, kinds, filters)
                raise HeadwaterError("rolled back")

    harness.run(run())


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        (None, {"name": "n", "schema": {}}, [("name", None, "n"), ("schema", None, {})]),
        ({"name": "n", "tags": ["a"]}, None, [("name", "n", None), ("tags", ["a"], None)]),
        ({"schema": {"a": 1, "b": 2}}, {"schema": {"b": 2, "a": 1}}, []),
        # equal in Python, different in JSON
        ({"schema": {"a": 1}}, {"schema": {"a": True}}, [("schema", {"a": 1}, {"a": True})]),
        ({"schema": {"a": 1}}, {"schema": {"a": 1.0}}, [("schema", {"a": 1}, {"a": 1.0})]),
        (None, None, []),
    ],
)
def test_states_are_compared_field_by_field(before: State | None, after: State | None, changed: list[Any]) -> None:
    assert changed_fields(PRODUCT, before, after) == changed


def test_details_are_compared_one_by_one() -> None:
    before = {"display_name": "ann", "details": {"email": "a@b.c", "phone": "1", "size": "2"}}
    after = {"display_name": "ann", "details": {"email": "d@e.f", "size": "2", "a.b": "x"}}
    assert changed_fields(ENTITY, before, after) == [
        ("details.a.b", None, "x"),
        ("details.email", "a@b.c", "d@e.f"),
        ("details.phone", "1", None),
    ]


async def test_tenants_see_their_own_changes(database: Database, address: str) -> None:
    owner = await asyncpg.connect(address)
    await owner.execute("INSERT INTO tenant (name) VALUES ('other')")
    await owner.close()
    for tenant_id in (1, 2):
        async with database.transaction(tenant_id, Author(f"writer {tenant_id}")) as connection:
            await product.register(connection, product_fields(owner=f"owner {tenant_id}"), at=day(0))
            await product.update(connection, AssetRef(product="orders"), {"owner": "another"}, at=day(1))
    window = ChangeQuery(day(-1), day(2))
    for tenant_id in (1, 2):
        async with database.snapshot(tenant_id) as connection:
            changes = (await list_changes(connection, window, Page(10))).items
            assert [(it.kind, it.actor) for it in changes] == [
                ("CREATED", f"writer {tenant_id}"),
                ("UPDATED", f"writer {tenant_id}"),
            ]
            (difference,) = (await list_differences(connection, window, Page(10))).items
            assert (difference.kind, difference.uid) == (DifferenceKind.ADDED, changes[0].uid)
            assert (await count_changes(connection, window), await count_differences(connection, window)) == (2, 1)
    async with database.snapshot(2) as connection:
        of_tenant_2 = ChangeQuery(day(-1), day(2), assets=(changes[0].subject_id, 2**40))
        assert len((await list_changes(connection, of_tenant_2, Page(10))).items) == 2
    async with database.snapshot(1) as connection:
        assert (await list_changes(connection, of_tenant_2, Page(10))).items == []
        assert (await list_differences(connection, of_tenant_2, Page(10))).items == []

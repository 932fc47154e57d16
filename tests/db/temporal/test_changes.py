"""Tests of changes and differences: they equal those of the model, and a page reads no more rows than it needs."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, example, given, settings
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
from db.temporal.change_log import Assertion, Operation
from db.temporal.changes import ChangeKind, ChangeQuery, ChangeRow, count_changes, list_changes
from db.temporal.changes import cursor_key as change_key
from db.temporal.differences import DifferenceKind, DifferenceRow, count_differences, list_differences
from db.temporal.differences import cursor_key as difference_key
from db.temporal.history import changed_fields
from db.temporal.kind import Kind
from db.temporal.kinds import ASSET_KINDS, ENTITY, PRODUCT
from tests.builders import START, day, product_fields
from tests.databases import examples_database, prepare_scripts, temporary_database
from tests.db.plans import explained_plans, row_counts
from tests.db.temporal.harness import Harness
from tests.db.temporal.model import AcceptedChange, State, apply, fold, state_at

pytestmark = [pytest.mark.temporal]

MICROSECOND = timedelta(microseconds=1)

_REGISTRIES = [
    "INSERT INTO domain (tenant_id, name) VALUES (CAST(:tenant AS bigint), 'sales')",
    "INSERT INTO entity_type (tenant_id, code, label) VALUES (CAST(:tenant AS bigint), 'PERSON', '')",
    "INSERT INTO detail_type (tenant_id, code, label) SELECT CAST(:tenant AS bigint), code, '' FROM unnest(ARRAY['a', 'b']) code",
]

# Few instants, two of them adjacent, few values and few actors, so that changes often share them.
_instants = st.sampled_from([START, START + MICROSECOND, *(START + timedelta(hours=hours) for hours in range(1, 4))])
_owners = st.sampled_from(["ann", "bob"])
_values = st.sampled_from(["1", "2"])
_codes = st.sampled_from(["a", "b"])
_actors = st.sampled_from(["one", "two", "three"])
_step = st.tuples(
    st.integers(0, 2), st.sampled_from(["SET", "SET", "PATCH", "DELETE", "RESTORE"]), _owners, _codes, _values, _instants, _actors
)
_window = st.tuples(_instants, _instants).filter(lambda it: it[0] < it[1])
_filters: dict[str, st.SearchStrategy[Any]] = {
    "kinds": st.sampled_from([some for number in range(5) for some in combinations(ChangeKind, number)]),
    "assets": st.lists(st.integers(0, 3), max_size=2),
    "asset_kinds": st.sampled_from([(), ("PRODUCT",), ("ENTITY",), ("PRODUCT", "ENTITY")]),
    "actors": st.sampled_from([some for number in range(3) for some in combinations(["one", "two", "three"], number)]),
}
_filter = st.one_of(
    *(st.fixed_dictionaries({name: values}) for name, values in _filters.items()), st.fixed_dictionaries({}, optional=_filters)
)
_question = st.tuples(_window, st.integers(1, 4), _filter)


@dataclass(frozen=True)
class LogEntry:
    """An accepted change with its actor, and whether it had an effect when it was recorded."""

    change: AcceptedChange
    changed: bool
    actor: str


@dataclass
class Subject:
    """An asset of an example, and its accepted changes in the order in which they were recorded."""

    kind: Kind
    asset_id: int
    uid: UUID
    log: list[LogEntry]

    @property
    def changes(self) -> list[AcceptedChange]:
        return [it.change for it in self.log]

    def state(self, owner: str, code: str, value: str) -> State:
        if self.kind is ENTITY:
            return {"display_name": owner, "details": {code: value}, "keys": [code]}
        return product_fields(
            f"product {self.asset_id}",
            owner=owner,
            description=value,
            schema={code: value},
            tags=[],
            status="ACTIVE",
            version="1.0.0",
        )

    def patch(self, owner: str, code: str, value: str) -> State:
        return {"details": {code: None if owner == "ann" else value}} if self.kind is ENTITY else {"owner": owner}


@pytest.fixture(scope="module")
def harness(server: str) -> Iterator[Harness]:
    with examples_database(server) as address:
        harness = Harness(address)
        yield harness
        harness.close()


async def create_subjects(connection: WriteConnection) -> list[Subject]:
    """Create two products and an entity that have no changes yet."""
    for statement in _REGISTRIES:
        await connection.execute(text(statement))
    subjects = []
    for kind, type_ in ((PRODUCT, None), (ENTITY, "PERSON"), (PRODUCT, None)):
        uid = uuid4()
        subjects.append(
            Subject(kind, (await asset.add_or_lock(connection, kind, asset.IdentitySpec(uid, type_))).asset_id, uid, [])
        )
    return subjects


async def record(connection: WriteConnection, subject: Subject, operation: str, payload: State | None, at: datetime) -> None:
    """Record a change, and append it to the log of the model if it is accepted and not a replay."""
    if operation == "RESTORE":
        periods = [it for it in fold(subject.changes) if it.valid_from <= at]
        if not periods:
            return
        operation, payload = "SET", periods[-1].state
    change = AcceptedChange(at, Operation(operation), None if operation == "DELETE" else payload)
    before = state_at(subject.changes, at)
    try:
        await record_asset_change(connection, subject.kind, [Assertion(subject.asset_id, change.operation, change.payload, at)])
    except NotFound:
        return
    if [it for it in subject.changes if it.at == at][-1:] != [change]:
        subject.log.append(LogEntry(change, apply(before, change) != before, connection.author.actor))


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


def changes_by_model(subjects: Sequence[Subject], query: ChangeQuery) -> list[tuple[Any, ...]]:
    """Compute the changes of a query, by looking at every instant of a log entry."""
    found = []
    for subject in subjects:
        for at in sorted({it.at for it in subject.changes}):
            before, after = state_at(subject.changes, at - MICROSECOND), state_at(subject.changes, at)
            if before == after:
                continue
            entries = [it for it in subject.log if it.change.at == at]
            cause = ([it for it in entries if it.changed] or entries)[-1]
            existed = any(it.valid_from < at for it in fold(subject.changes))
            kind = "UPDATED" if before and after else "DELETED" if before else "RESTORED" if existed else "CREATED"
            periods = [
                (it.valid_from, it.valid_to, it.state) for it in fold(subject.changes) if at in (it.valid_to, it.valid_from)
            ]
            if (
                query.since <= at < query.until
                and is_selected(query, subject, kind)
                and cause.actor in (query.actors or [cause.actor])
            ):
                found.append((at, subject.asset_id, subject.uid, kind, cause.actor, changed_values(before, after), periods))
    return sorted(found, key=lambda it: it[:2])


def differences_by_model(subjects: Sequence[Subject], query: ChangeQuery) -> list[tuple[Any, ...]]:
    found = []
    for subject in subjects:
        before, after = state_at(subject.changes, query.since), state_at(subject.changes, query.until)
        actors = {it.actor for it in subject.log if query.since < it.change.at <= query.until}
        kind = "CHANGED" if before and after else "REMOVED" if before else "ADDED"
        change_kinds = {"CHANGED": ["UPDATED"], "REMOVED": ["DELETED"], "ADDED": ["CREATED", "RESTORED"]}[kind]
        selected = any(is_selected(query, subject, it) for it in change_kinds) and actors & set(query.actors or actors)
        if before != after and selected:
            found.append((subject.asset_id, subject.uid, kind, before, after, changed_values(before, after)))
    return sorted(found, key=lambda it: it[0])


def is_selected(query: ChangeQuery, subject: Subject, kind: str) -> bool:
    """Return True if the filters select a kind of change of a subject. Of the actors, only an empty filter is considered."""
    return all(
        wanted is None or value in wanted
        for value, wanted in (
            (kind, query.kinds),
            (subject.uid, query.assets),
            (subject.kind.name, query.asset_kinds),
            (None, None if query.actors != () else ()),
        )
    )


def change_tuple(row: ChangeRow) -> tuple[Any, ...]:
    sides = [it for it in (row.before, row.after) if it is not None]
    assert all(it.as_of == it.valid_from for it in sides)
    periods = [(it.valid_from, it.valid_to, it.state) for it in sides]
    fields = {name: (before, after) for name, before, after in row.changed}
    return (row.at, row.subject_id, row.uid, row.kind, row.actor, fields, periods)


def difference_tuple(row: DifferenceRow) -> tuple[Any, ...]:
    fields = {name: (before, after) for name, before, after in row.changed}
    before, after = row.before and row.before.state, row.after and row.after.state
    return (row.subject_id, row.uid, row.kind, before, after, fields)


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
    selection: dict[str, Any],
) -> None:
    """Compare the database with the model, page by page in both directions."""
    uids = [*(it.uid for it in subjects), uuid4()]
    filters: dict[str, Any] = {name: tuple(values) for name, values in selection.items()}
    if "assets" in selection:
        filters["assets"] = tuple(uids[number] for number in selection["assets"])
    query = ChangeQuery(*window, **filters)
    changes, differences = changes_by_model(subjects, query), differences_by_model(subjects, query)
    for backward in (False, True):
        rows = await read_pages(lambda page: list_changes(connection, query, page), change_key, size, backward=backward)
        assert [change_tuple(it) for it in rows] == changes
        rows = await read_pages(lambda page: list_differences(connection, query, page), difference_key, size, backward=backward)
        assert [difference_tuple(it) for it in rows] == differences
    assert await count_changes(connection, query) == len(changes)
    assert await count_differences(connection, query) == len(differences)


@pytest.mark.random
@settings(suppress_health_check=list(HealthCheck))
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
def test_changes_and_differences_equal_those_of_the_model(harness: Harness, steps: list[Any], questions: list[Any]) -> None:
    async def run() -> None:
        with contextlib.suppress(HeadwaterError):
            async with harness.database.transaction(1, Author("example")) as connection:
                subjects = await create_subjects(connection)
                for number, operation, owner, code, value, at, actor in steps:
                    connection.author = Author(actor, f"request of {actor}")
                    subject = subjects[number]
                    payload = subject.patch(owner, code, value) if operation == "PATCH" else subject.state(owner, code, value)
                    await record(connection, subject, operation, payload, at.astimezone(UTC))
                everything: Any = ((START - MICROSECOND, START + timedelta(days=1)), 3, {})
                for window, size, filters in [everything, *questions]:
                    await compare(connection, subjects, window, size, filters)
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
        of_tenant_2 = ChangeQuery(day(-1), day(2), assets=(changes[0].uid, uuid4()))
        assert len((await list_changes(connection, of_tenant_2, Page(10))).items) == 2
    async with database.snapshot(1) as connection:
        assert (await list_changes(connection, of_tenant_2, Page(10))).items == []
        assert (await list_differences(connection, of_tenant_2, Page(10))).items == []


# Two tenants with products and entities of five versions each, ten days apart, some of which are deleted.
_ASSETS = 2_000
_FILL = f"""
INSERT INTO tenant (name) VALUES ('other');
INSERT INTO domain (tenant_id, name) SELECT t, 'sales' FROM generate_series(1, 2) t;
INSERT INTO entity_type (tenant_id, code, label) SELECT t, 'TABLE', 'Table' FROM generate_series(1, 2) t;
INSERT INTO asset (tenant_id, uid, kind, type)
SELECT t, gen_random_uuid(), CASE n % 2 WHEN 0 THEN 'PRODUCT' ELSE 'ENTITY' END, CASE n % 2 WHEN 0 THEN NULL ELSE 'TABLE' END
FROM generate_series(1, 2) t, generate_series(1, {_ASSETS}) n;
CREATE TEMPORARY TABLE period AS
SELECT a.tenant_id, a.id, a.kind, '2026-01-01'::timestamptz + a.id * interval '1 minute' AS created_at,
  '2026-01-01'::timestamptz + a.id * interval '1 minute' + n * interval '10 days' AS valid_from,
  CASE
    WHEN n < 4 THEN '2026-01-01'::timestamptz + a.id * interval '1 minute' + (n + 1) * interval '10 days'
    WHEN a.id % 100 < 2 THEN '2026-01-01'::timestamptz + a.id * interval '1 minute' + 45 * interval '1 day'
    ELSE 'infinity'
  END AS valid_to, md5(a.id::text || n)::uuid AS digest
FROM asset a, generate_series(0, 4) n;
INSERT INTO product_version (tenant_id, asset_id, valid_from, valid_to, created_at, name, domain, owner, schema, status, version,
  tags, digest)
SELECT tenant_id, id, valid_from, valid_to, created_at, md5(id::text), 'sales', 'ann', '{{}}', 'ACTIVE', '1.0.0', '{{}}', digest
FROM period WHERE kind = 'PRODUCT';
INSERT INTO entity_version (tenant_id, asset_id, valid_from, valid_to, created_at, display_name, details, keys, digest)
SELECT tenant_id, id, valid_from, valid_to, created_at, 'ann', '{{}}', '{{}}', digest FROM period WHERE kind = 'ENTITY';
INSERT INTO change (tenant_id, kind, subject_id, operation, change_ts, payload, changed, recorded_at, actor)
SELECT tenant_id, kind, id, 'SET', valid_from, '{{}}'::jsonb, true, now(), 'filler' FROM period
UNION ALL
SELECT tenant_id, kind, id, 'DELETE', valid_to, NULL, true, now(), 'filler'
FROM period WHERE valid_to = created_at + 45 * interval '1 day';
"""


@pytest.fixture(scope="module")
def full_template(server: str) -> str:
    return prepare_scripts(server, "changes", _FILL, "VACUUM ANALYZE")


@pytest.fixture
async def filled(server: str, full_template: str) -> AsyncIterator[Database]:
    async with temporary_database(server, full_template) as address:
        database = Database(address)
        yield database
        await database.close()


BY_INSTANT = {"product_version_by_instant", "entity_version_by_instant"}
BY_SUBJECT = {"product_version_pkey", "entity_version_pkey"}
LOG = {"change_of_ends", "change_in_order"}
# the planner may scan the few identities, where that is cheaper
IDENTITIES = {"asset"}
ALL = ChangeQuery(day(-1), day(100))


async def test_page_of_changes_reads_no_more_rows_than_it_holds(filled: Database) -> None:
    async with filled.snapshot(1) as connection:
        middle = (await list_changes(connection, ALL, Page(500))).items[-1]
        for page in (
            Page(50),
            Page(50, backward=True),
            Page(50, after=change_key(middle)),
            Page(50, backward=True, before=change_key(middle)),
        ):
            with row_counts(filled) as explained:
                assert len((await list_changes(connection, ALL, page)).items) == 50
            assert explained.indexes >= BY_INSTANT | LOG
            assert explained.scanned_tables <= IDENTITIES
            assert explained.most_read(*BY_INSTANT, *BY_SUBJECT, *LOG) <= page.limit


async def test_filter_selects_the_index_that_is_read(filled: Database) -> None:
    async with filled.snapshot(1) as connection:
        uids = tuple(it.uid for it in (await list_changes(connection, ALL, Page(3))).items)
        page = Page(50)
        for filters, indexes, most in (
            ({"kinds": (ChangeKind.DELETED,)}, {"change_of_ends"}, page.limit),
            ({"kinds": (ChangeKind.CREATED, ChangeKind.UPDATED)}, BY_INSTANT, page.limit),
            ({"asset_kinds": ("ENTITY",)}, {"entity_version_by_instant"}, page.limit),
            ({"assets": uids}, BY_SUBJECT | {"asset_uid_taken"}, len(uids) * 5),
        ):
            with row_counts(filled) as explained:
                assert (await list_changes(connection, ChangeQuery(ALL.since, ALL.until, **filters), page)).items
            assert explained.indexes >= indexes
            assert explained.scanned_tables <= IDENTITIES
            assert explained.most_read(*BY_INSTANT, *BY_SUBJECT, *LOG) <= most


async def test_differences_read_only_changes_in_between(filled: Database) -> None:
    async with filled.snapshot(1) as connection:
        window = ChangeQuery(day(45.5), day(46))
        total = await count_changes(connection, window)
        for page in (Page(50), Page(50, backward=True), Page(50, after=(1_000,))):
            with row_counts(filled) as explained:
                assert (await list_differences(connection, window, page)).items
            assert explained.indexes >= {*BY_INSTANT, *BY_SUBJECT, "change_of_ends"}
            assert explained.scanned_tables <= IDENTITIES
            assert explained.most_read(*BY_INSTANT, *BY_SUBJECT, "change_of_ends") <= total
        with row_counts(filled) as explained:
            assert await count_differences(connection, window)
        assert explained.scanned_tables == set()


async def test_empty_filter_runs_no_statement(filled: Database) -> None:
    async with filled.snapshot(1) as connection:
        for filters in ({"kinds": ()}, {"assets": ()}, {"asset_kinds": ()}, {"actors": ()}):
            query = ChangeQuery(ALL.since, ALL.until, **filters)
            with explained_plans(filled) as explained:
                assert (await list_changes(connection, query, Page(5))).items == []
                assert (await list_differences(connection, query, Page(5))).items == []
                assert (await count_changes(connection, query), await count_differences(connection, query)) == (0, 0)
                assert explained.plans == []
                # without the empty filter there are statements
                assert await count_changes(connection, ALL) > 0
                assert len(explained.plans) == 1


def test_every_asset_kind_is_read_by_default() -> None:
    assert {it.name for it in ALL.kinds_of_assets} == {it.name for it in ASSET_KINDS}

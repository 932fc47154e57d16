"""Random histories of associations and of their ends: they equal the clipped fold of a plain model, with the authors."""

import contextlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.assets import asset
from db.assets.asset import Deletion, IdentitySpec
from db.assets.reference import AssetRef
from db.associations import lineage_link, relationship
from db.associations.lineage_link import LinkState, link_observations
from db.associations.reference import link_uid, relationship_uid
from db.associations.relationship import RelationshipState, relationship_records
from db.author import Author
from db.connection import WriteConnection
from db.consistency.lifecycle import record_asset_change
from db.errors import HeadwaterError, NotFound
from db.pagination import Page
from db.registries import entity_type, relationship_type
from db.sql import text
from db.temporal.change_log import Assertion, Operation, Outcome
from db.temporal.history import count_histories, histories
from db.temporal.kind import AssociationKind
from db.temporal.kinds import ENTITY, LINK, RELATIONSHIP
from tests.builders import START
from tests.db.harness import Harness
from tests.db.temporal.model import AcceptedChange, Period, State, apply, fold, state_at
from tests.randomness import writing_examples

pytestmark = [pytest.mark.random, pytest.mark.slow(4), pytest.mark.temporal]

MICROSECOND = timedelta(microseconds=1)

# Few instants, two of them adjacent, few values and few actors, so that changes often share them.
_instants = st.sampled_from([START, START + MICROSECOND, *(START + timedelta(hours=hours) for hours in range(1, 5))])
_actors = st.sampled_from(["one", "two", "three"])
_step = st.tuples(
    st.sampled_from(["end 0", "end 1", "association", "association"]),
    st.sampled_from(["SET", "SET", "PATCH", "DELETE", "RESTORE"]),
    st.sampled_from([1, 2]),
    _instants,
    _actors,
)
_IDENTITY = {
    LINK: text(
        "SELECT id FROM lineage_link WHERE tenant_id = CAST(:tenant AS bigint) AND source_id = ANY (CAST(:ends AS bigint[]))"
    ),
    RELATIONSHIP: text(
        "SELECT id FROM relationship WHERE tenant_id = CAST(:tenant AS bigint) AND origin_id = ANY (CAST(:ends AS bigint[]))"
    ),
}

_SAVEPOINT = text("SAVEPOINT step")
_ROLL_BACK = text("ROLLBACK TO SAVEPOINT step")


@dataclass(frozen=True)
class LogEntry:
    """An accepted change with its actor, and whether it had an effect when it was recorded."""

    change: AcceptedChange
    changed: bool
    actor: str


@dataclass
class Log:
    """The accepted changes of a subject, in the order in which they were recorded."""

    entries: list[LogEntry] = field(default_factory=list)

    @property
    def changes(self) -> list[AcceptedChange]:
        return [it.change for it in self.entries]

    @property
    def versions(self) -> list[Period]:
        return fold(self.changes)

    @property
    def lifetimes(self) -> list[Period]:
        """The periods of existence: adjacent versions are one."""
        return fold([AcceptedChange(it.at, it.operation, None if it.payload is None else {}) for it in self.changes])

    def append(self, at: datetime, operation: Operation, payload: State | None, actor: str) -> None:
        change, before = AcceptedChange(at, operation, payload), state_at(self.changes, at)
        if [it for it in self.changes if it.at == at][-1:] != [change]:
            self.entries.append(LogEntry(change, apply(before, change) != before, actor))

    def author_at(self, at: datetime) -> str:
        """The actor of the last change at an instant that changed the state."""
        entries = [it for it in self.entries if it.change.at == at]
        return ([it for it in entries if it.changed] or entries)[-1].actor


@dataclass
class Example:
    """Two assets and an association of a kind between them, in the database and in the model."""

    connection: WriteConnection
    kind: AssociationKind
    uids: list[UUID] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    ends: list[Log] = field(default_factory=lambda: [Log(), Log()])
    asserted: Log = field(default_factory=Log)

    async def begin(self) -> None:
        await entity_type.put(self.connection, "TABLE", "Table")
        await relationship_type.put(
            self.connection, key="uses", reverse_key="used_by", origin="TABLE", related="TABLE", cardinality="MANY_TO_MANY"
        )
        self.uids = [uuid4(), uuid4()]
        specs = [IdentitySpec(uid, "TABLE") for uid in self.uids]
        self.ids = [(await asset.add_or_lock(self.connection, ENTITY, spec)).asset_id for spec in specs]

        # an asset has an identity since its first change; associations may be asserted for an earlier instant
        for end in ("end 0", "end 1"):
            await self.run(end, "SET", 1, START + timedelta(hours=1), "creator")

    async def run(self, subject: str, operation: str, value: int, at: datetime, actor: str) -> None:
        """Make a change, and append it to the model if it is accepted."""
        self.connection.author = Author(actor)
        if subject != "association":
            await self._change_end(int(subject[-1]), Operation("DELETE" if operation == "DELETE" else "SET"), value, at)
            return
        if operation in ("PATCH", "RESTORE"):
            await self._change(operation, value, at)
            return
        payload = self._payload(value)
        near, far = (AssetRef(uid=it) for it in self.uids)
        if operation == "DELETE":
            (outcome,) = await self._write([], [Deletion(self.uid, at)])
        elif self.kind is LINK:
            (outcome,) = await self._write([LinkState(near, far, None, payload, at)], [])
        else:
            (outcome,) = await self._write([RelationshipState("uses", near, far, payload, at)], [])
        if isinstance(outcome, Outcome):
            self.asserted.append(at, Operation(operation), None if operation == "DELETE" else payload, actor)

    async def _change(self, operation: str, value: int, at: datetime) -> None:
        """Update or restore the association. Accepted if it has a state to change, or to restore, and both ends exist."""
        module: Any = lineage_link if self.kind is LINK else relationship
        before, periods = state_at(self.asserted.changes, at), [it for it in self.asserted.versions if it.valid_from <= at]
        if operation == "RESTORE" and self.kind is RELATIONSHIP:
            return
        payload = {"confidence": value / 2} if self.kind is LINK else self._payload(value)
        exists = periods and (before is not None or operation == "RESTORE")
        ends_exist = all(state_at(end.changes, at) is not None for end in self.ends)
        await self.connection.execute(_SAVEPOINT)
        try:
            if operation == "PATCH":
                await module.update(self.connection, self.uid, payload, at=at)
            else:
                await module.restore(self.connection, self.uid, at=at)
            is_accepted = True
        except NotFound:
            await self.connection.execute(_ROLL_BACK)
            self.connection.failure = None
            is_accepted = False
        assert is_accepted == bool(exists and ends_exist)
        if not is_accepted:
            return
        stated = payload if operation == "PATCH" else periods[-1].state
        self.asserted.append(at, Operation("PATCH" if operation == "PATCH" else "SET"), stated, self.connection.author.actor)

    async def _write(self, states: list[Any], deletions: list[Deletion]) -> list[Any]:
        module: Any = lineage_link if self.kind is LINK else relationship
        outcomes: list[Any] = await module.upsert_each(self.connection, states, deletions=deletions, allow_pending_ends=True)
        return outcomes

    @property
    def uid(self) -> UUID:
        if self.kind is LINK:
            return link_uid(self.uids[0], self.uids[1], None)
        type_: Any = type("Type", (), {"code": "TABLE uses TABLE"})
        return relationship_uid(type_, *self.uids)

    def _payload(self, value: int) -> State:
        if self.kind is LINK:
            return {"type": "DIRECT", "transformation": None, "confidence": value / 2, "metadata": {}}
        return {"attributes": {"n": value}}

    async def _change_end(self, end: int, operation: Operation, value: int, at: datetime) -> None:
        payload = None if operation is Operation.DELETE else {"display_name": f"{value}", "details": {}}
        with contextlib.suppress(NotFound):
            await record_asset_change(self.connection, ENTITY, [Assertion(self.ids[end], operation, payload, at)])
            self.ends[end].append(at, operation, payload, self.connection.author.actor)

    def expected(self) -> list[tuple[Any, ...]]:
        """The versions by the model: start, end, state, previous state if it ends there, and actor."""
        periods: list[Period] = []
        for version in self.asserted.versions:
            for near in self.ends[0].lifetimes:
                for far in self.ends[1].lifetimes:
                    since = max(version.valid_from, near.valid_from, far.valid_from)
                    ends = [it.valid_to for it in (version, near, far) if it.valid_to is not None]
                    if not ends or since < min(ends):
                        periods.append(Period(since, min(ends) if ends else None, version.state))
        found = []
        for number, period in enumerate(periods):
            before = periods[number - 1] if number else None
            state_before = before.state if before is not None and before.valid_to == period.valid_from else None
            found.append((period.valid_from, period.valid_to, period.state, state_before, self._authors(period.valid_from)))
        return found

    def _authors(self, start: datetime) -> set[str]:
        """The actors that may have made a period that begins at an instant.

        If the association is asserted before it and from it on, and the lifetime of an end begins or ends then, it is the author
        of that end, of two ends either. Otherwise it is the author of the association.
        """
        versions = [it for it in self.asserted.versions if it.valid_from <= start and (it.valid_to or start) >= start]
        is_asserted_throughout = any(it.valid_from < start for it in versions) and any(it.valid_to != start for it in versions)
        ends = {end.author_at(start) for end in self.ends if any(start in (it.valid_from, it.valid_to) for it in end.lifetimes)}
        return ends if is_asserted_throughout and ends else {self.asserted.author_at(start)}

    async def check(self, size: int) -> None:
        """Compare the history with the model: whole, page by page in both directions, and what a read at each start tells."""
        rows = await self.connection.fetch(_IDENTITY[self.kind], {"ends": self.ids})
        expected = self.expected()
        if not rows:
            assert expected == []
            return
        (subject_id,) = [row.id for row in rows]
        (page,) = await histories(self.connection, [subject_id], self.kind, Page(100))
        assert len(page.items) == len(expected)
        for row, (valid_from, valid_to, state, state_before, authors) in zip(page.items, expected, strict=True):
            assert (row.valid_from, row.valid_to, row.state) == (valid_from, valid_to, state)
            assert row.created_at == expected[0][0]
            assert row.actor in authors
            changed = {it.field: (it.before, it.after) for it in row.changed}
            before = state_before or dict.fromkeys(state)
            assert changed == {name: (before[name], state[name]) for name in state if before[name] != state[name]}
        assert await count_histories(self.connection, [subject_id], self.kind) == [len(expected)]
        assert await self._in_pages(subject_id, size, backward=False) == page.items
        assert await self._in_pages(subject_id, size, backward=True) == page.items
        await self._check_records(subject_id, page.items)

    async def _in_pages(self, subject_id: int, size: int, *, backward: bool) -> list[Any]:
        items: list[Any] = []
        while True:
            bound = {"before" if backward else "after": (items[0 if backward else -1].valid_from,)} if items else {}
            (page,) = await histories(self.connection, [subject_id], self.kind, Page(size, backward, **bound))
            items = page.items + items if backward else items + page.items
            if not page.more:
                return items

    async def _check_records(self, subject_id: int, versions: list[Any]) -> None:
        if not versions:
            return
        records: list[Any]
        if self.kind is LINK:
            records = [*await link_observations(self.connection, [(subject_id, it.valid_from, it.valid_from) for it in versions])]
        else:
            records = [*await relationship_records(self.connection, [(subject_id, it.valid_from) for it in versions])]
        for record, version in zip(records, versions, strict=True):
            assert (record.created_at, record.actor, record.recorded_at) == (
                version.created_at,
                version.actor,
                version.recorded_at,
            )


@pytest.mark.parametrize("kind", [LINK, RELATIONSHIP], ids=lambda it: it.name)
@writing_examples()
@given(steps=st.lists(_step, min_size=2, max_size=14), size=st.integers(1, 3))
def test_the_history_of_an_association_is_its_clipped_fold(
    harness: Harness, kind: AssociationKind, steps: list[Any], size: int
) -> None:
    async def run() -> None:
        with contextlib.suppress(HeadwaterError):
            async with harness.database.transaction(1, Author("machine")) as connection:
                example = Example(connection, kind)
                await example.begin()
                for step in steps:
                    await example.run(*step)
                await example.check(size)
                raise HeadwaterError("rolled back")

    harness.run(run())

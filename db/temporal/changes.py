"""Changes: every instant at which an asset became different, by all that is known now, and who said so."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import text

from db.connection import ReadConnection
from db.pagination import Page, Slice
from db.temporal.history import Changed, VersionPeriod, changed_fields
from db.temporal.kind import Kind
from db.temporal.kinds import ASSET_KINDS, KIND_OF


class ChangeKind(StrEnum):
    CREATED = "CREATED"
    UPDATED = "UPDATED"
    DELETED = "DELETED"
    RESTORED = "RESTORED"


BEGINNINGS = frozenset({ChangeKind.CREATED, ChangeKind.UPDATED, ChangeKind.RESTORED})


@dataclass(frozen=True, slots=True)
class ChangeQuery:
    """Which changes, between two instants. A filter that is None leaves nothing out; an empty one leaves out everything."""

    since: datetime
    until: datetime
    kinds: tuple[str, ...] | None = None
    assets: tuple[UUID, ...] | None = None
    asset_kinds: tuple[str, ...] | None = None
    actors: tuple[str, ...] | None = None

    @property
    def kinds_of_changes(self) -> frozenset[ChangeKind]:
        return frozenset(ChangeKind) if self.kinds is None else frozenset(map(ChangeKind, self.kinds))

    @property
    def kinds_of_assets(self) -> list[Kind]:
        """Those to look at: none, where the filter leaves out everything."""
        if () in (self.kinds, self.assets, self.asset_kinds, self.actors):
            return []
        return [kind for kind in ASSET_KINDS if self.asset_kinds is None or kind.name in self.asset_kinds]


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """One change of one asset: what was different before, and what it is from then on, if it is still there."""

    asset_kind: str
    subject_id: int
    uid: UUID
    kind: ChangeKind
    at: datetime
    recorded_at: datetime
    actor: str
    request_id: str | None
    changed: list[Changed]
    before: VersionPeriod | None
    after: VersionPeriod | None


def cursor_key(row: ChangeRow) -> tuple[Any, ...]:
    """Where a change stands in the list: what a cursor remembers."""
    return (row.at, row.subject_id)


async def list_changes(connection: ReadConnection, query: ChangeQuery, page: Page) -> Slice[ChangeRow]:
    """A page of the changes from `since` on and before `until`, in the order of their instants."""
    direction = page.direction
    order = f"ORDER BY at {direction}, subject_id {direction} LIMIT CAST(:limit AS bigint)"
    # each part of the statement reads no more than the page may need, in the order of an index; but what is asked about some
    # assets is looked up by their ids, which OFFSET keeps the planner to
    bound = order if query.assets is None else "OFFSET 0"
    parts = []
    for kind in query.kinds_of_assets:
        first = [f"SELECT * FROM ({it}{bound}) first" for it in _candidates(kind, query)]
        parts.append(kind.render("temporal/changes", candidates=union(first) + order))
    if not parts:
        return Slice([], more=False)
    rows = await connection.fetch(text(union(parts) + order), _parameters(query, page))
    return page.slice(rows, _change)


async def count_changes(connection: ReadConnection, query: ChangeQuery) -> int:
    """How many changes there are in all."""
    candidates = [f"({it})" for kind in query.kinds_of_assets for it in _candidates(kind, query)]
    if not candidates:
        return 0
    counting = text(f"SELECT count(*) AS changes FROM ({union(candidates)}) found")
    row = await connection.fetch_one(counting, _parameters(query, Page(1)))
    return int(row.changes) if row else 0


def union(parts: Sequence[str]) -> str:
    """What is found by any part."""
    return "UNION ALL\n".join(f"{it}\n" for it in parts)


def filters(kind: Kind, conditions: Sequence[tuple[str, bool]]) -> str:
    """The conditions that are asked for. The others are not in the statement at all: each question has a plan of its own."""
    return "".join(kind.render(path) for path, wanted in conditions if wanted)


def _candidates(kind: Kind, query: ChangeQuery) -> list[str]:
    """The parts of a statement that find where assets of a kind became different."""
    assets, actors = ("temporal/_filter_assets", query.assets is not None), ("temporal/_filter_actors", query.actors is not None)
    candidates = []
    if query.kinds_of_changes & BEGINNINGS:
        kinds = ("temporal/_filter_kinds", not query.kinds_of_changes >= BEGINNINGS)
        candidates.append(kind.render("temporal/version_starts", filters=filters(kind, [assets, kinds, actors])))
    if ChangeKind.DELETED in query.kinds_of_changes:
        candidates.append(kind.render("temporal/lifetime_ends", filters=filters(kind, [assets, actors])))
    return candidates


def _parameters(query: ChangeQuery, page: Page) -> dict[str, Any]:
    # no asset has an id below 1: places before all that is at an instant
    after_at, after_subject = page.after or (query.since, 0)
    before_at, before_subject = page.before or (query.until, 0)
    return {
        "after_at": after_at,
        "after_subject": after_subject,
        "before_at": before_at,
        "before_subject": before_subject,
        "kinds": sorted(query.kinds_of_changes),
        "assets": query.assets,
        "actors": query.actors,
        "limit": page.limit,
    }


def _change(row: Any) -> ChangeRow:
    return ChangeRow(
        asset_kind=row.kind,
        subject_id=row.subject_id,
        uid=row.uid,
        kind=ChangeKind(row.change),
        at=row.at,
        recorded_at=row.recorded_at,
        actor=row.actor,
        request_id=row.request_id,
        changed=changed_fields(KIND_OF[row.kind], row.state_before, row.state),
        before=_version_period(row, row.from_before, row.at, row.state_before),
        after=_version_period(row, row.at, row.valid_to, row.state),
    )


def _version_period(row: Any, since: datetime, until: datetime | None, state: dict[str, Any] | None) -> VersionPeriod | None:
    """The asset from one instant to another; None: it was not there."""
    if state is None:
        return None
    return VersionPeriod(
        subject_id=row.subject_id,
        type=row.type,
        key=row.key,
        as_of=since,
        valid_from=since,
        valid_to=until,
        created_at=row.created_at,
        state=state,
    )

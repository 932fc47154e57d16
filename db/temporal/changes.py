"""Changes of assets over time: each instant at which one was created, updated, deleted or restored, and its cause."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from db.connection import ReadConnection
from db.pagination import Page, Slice
from db.sql import MAX_SHAPES, Statement, text
from db.temporal.history import Changed, VersionPeriod, changed_fields, version_period
from db.temporal.kind import Kind
from db.temporal.kinds import ASSET_KINDS, KIND_OF


class ChangeKind(StrEnum):
    CREATED = "CREATED"
    UPDATED = "UPDATED"
    DELETED = "DELETED"
    RESTORED = "RESTORED"


# Kinds of changes that begin a version.
VERSION_STARTS = frozenset({ChangeKind.CREATED, ChangeKind.UPDATED, ChangeKind.RESTORED})


class ChangeShape(NamedTuple):
    """The part of a query that its statement depends on: the kinds that it reads, and the filters that it has."""

    kinds_of_changes: frozenset[ChangeKind]
    kinds_of_assets: tuple[Kind, ...]
    has_assets: bool
    has_actors: bool


@dataclass(frozen=True, slots=True)
class ChangeQuery:
    """Filter on changes between two instants. A filter that is None excludes nothing; an empty one excludes everything."""

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
    def kinds_of_assets(self) -> tuple[Kind, ...]:
        """Kinds of assets to read; none, if a filter excludes everything."""
        if () in (self.kinds, self.assets, self.asset_kinds, self.actors):
            return ()
        return tuple(kind for kind in ASSET_KINDS if self.asset_kinds is None or kind.name in self.asset_kinds)

    @property
    def shape(self) -> ChangeShape:
        return ChangeShape(self.kinds_of_changes, self.kinds_of_assets, self.assets is not None, self.actors is not None)


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """A change of an asset, with the version period before it and after it; None where the asset does not exist."""

    asset_kind: str
    subject_id: int
    uid: UUID
    kind: ChangeKind
    at: datetime
    recorded_at: datetime
    actor: str
    credential: str | None
    request_id: str | None
    changed: list[Changed]
    before: VersionPeriod | None
    after: VersionPeriod | None


def cursor_key(row: ChangeRow) -> tuple[Any, ...]:
    """Return the key of a change in a cursor."""
    return (row.at, row.subject_id)


async def list_changes(connection: ReadConnection, query: ChangeQuery, page: Page) -> Slice[ChangeRow]:
    """Return a page of the changes from `since` on and before `until`, in the order of their instants."""
    if not query.kinds_of_assets:
        return Slice([], more=False)
    rows = await connection.fetch(_list_statement(query.shape, page.direction), _parameters(query, page))
    return page.slice(rows, _change)


async def count_changes(connection: ReadConnection, query: ChangeQuery) -> int:
    """Count the changes of a query."""
    if not query.kinds_of_assets:
        return 0
    row = await connection.fetch_one(_count_statement(query.shape), _parameters(query, Page(1)))
    return int(row.changes) if row else 0


@lru_cache(MAX_SHAPES)
def _list_statement(shape: ChangeShape, direction: str) -> Statement:
    order = f"ORDER BY at {direction}, subject_id {direction} LIMIT CAST(:limit AS bigint)"
    # Each part of the statement reads at most the page, in the order of an index. With a filter on assets, OFFSET 0 makes the
    # planner look these up by their ids instead.
    bound = "OFFSET 0" if shape.has_assets else order
    parts = []
    for kind in shape.kinds_of_assets:
        bounded = [f"SELECT * FROM ({candidates}{bound}) bounded" for candidates in _candidates(kind, shape)]
        parts.append(kind.render("temporal/changes", candidates=union_all(bounded) + order))
    return text(union_all(parts) + order)


@lru_cache(MAX_SHAPES)
def _count_statement(shape: ChangeShape) -> Statement:
    candidates = [f"({candidates})" for kind in shape.kinds_of_assets for candidates in _candidates(kind, shape)]
    return text(f"SELECT count(*) AS changes FROM ({union_all(candidates)}) candidate")


def union_all(parts: Sequence[str]) -> str:
    """Combine queries into one that selects the rows of all."""
    return "UNION ALL\n".join(f"{part}\n" for part in parts)


def render_filters(kind: Kind, conditions: Sequence[tuple[str, bool]]) -> str:
    """Render the filters that are wanted. The others are not part of the statement, so that each combination is planned for
    itself."""
    return "".join(kind.render(path) for path, wanted in conditions if wanted)


def _candidates(kind: Kind, shape: ChangeShape) -> list[str]:
    """Render the queries that select the instants at which assets of a kind changed."""
    assets, actors = ("temporal/_filter_assets", shape.has_assets), ("temporal/_filter_actors", shape.has_actors)
    candidates = []
    if shape.kinds_of_changes & VERSION_STARTS:
        kinds = ("temporal/_filter_kinds", not shape.kinds_of_changes >= VERSION_STARTS)
        filters = render_filters(kind, [assets, kinds, actors])
        candidates.append(kind.render("temporal/version_starts", filters=filters))
    if ChangeKind.DELETED in shape.kinds_of_changes:
        candidates.append(kind.render("temporal/lifetime_ends", filters=render_filters(kind, [assets, actors])))
    return candidates


def _parameters(query: ChangeQuery, page: Page) -> dict[str, Any]:
    # The ids of assets begin at 1, so 0 sorts before every change at the same instant.
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
        credential=row.credential,
        request_id=row.request_id,
        changed=changed_fields(KIND_OF[row.kind], row.state_before, row.state),
        before=version_period(
            row,
            row.state_before,
            as_of=row.from_before,
            valid_from=row.from_before,
            valid_to=row.at,
            created_at=row.created_at,
        ),
        after=version_period(row, row.state, as_of=row.at, valid_from=row.at, valid_to=row.valid_to, created_at=row.created_at),
    )

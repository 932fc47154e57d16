"""Differences between two instants: the assets whose state is not the same, regardless of what happened in between."""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any
from uuid import UUID

from db.connection import ReadConnection
from db.pagination import Page, PageShape, Slice
from db.sql import MAX_SHAPES, Statement, text
from db.temporal.changes import VERSION_STARTS, ChangeKind, ChangeQuery, ChangeShape, render_filters, union_all
from db.temporal.history import Changed, VersionPeriod, changed_fields, version_period
from db.temporal.kind import Kind
from db.temporal.kinds import KIND_OF


class DifferenceKind(StrEnum):
    ADDED = "ADDED"
    REMOVED = "REMOVED"
    CHANGED = "CHANGED"


# The kind of difference that corresponds to a kind of change.
_DIFFERENCE_OF = {
    ChangeKind.CREATED: DifferenceKind.ADDED,
    ChangeKind.UPDATED: DifferenceKind.CHANGED,
    ChangeKind.DELETED: DifferenceKind.REMOVED,
    ChangeKind.RESTORED: DifferenceKind.ADDED,
}


@dataclass(frozen=True, slots=True)
class DifferenceRow:
    """An asset that differs between two instants, with its version period at each; None where it does not exist."""

    asset_kind: str
    subject_id: int
    uid: UUID
    kind: DifferenceKind
    before: VersionPeriod | None
    after: VersionPeriod | None
    changed: list[Changed]


def cursor_key(row: DifferenceRow) -> tuple[Any, ...]:
    """Return the key of a difference in a cursor."""
    return (row.subject_id,)


async def list_differences(connection: ReadConnection, query: ChangeQuery, page: Page) -> Slice[DifferenceRow]:
    """Return a page of the assets that differ between `since` and `until`, in the order of their ids."""
    if not query.kinds_of_assets:
        return Slice([], more=False)
    rows = await connection.fetch(_list_statement(query.shape, page.shape), _parameters(query, page))
    return page.slice(rows, lambda row: _difference(query, row))


async def count_differences(connection: ReadConnection, query: ChangeQuery) -> int:
    """Count the assets that differ."""
    if not query.kinds_of_assets:
        return 0
    row = await connection.fetch_one(_count_statement(query.shape), _parameters(query, Page(1)))
    return int(row.differences) if row else 0


@lru_cache(MAX_SHAPES)
def _list_statement(shape: ChangeShape, page: PageShape) -> Statement:
    order = f"ORDER BY subject_id {page.direction} LIMIT CAST(:limit AS bigint)"
    parts = [
        kind.render("temporal/differences", candidates=_differing_assets(kind, shape, page) + order)
        for kind in shape.kinds_of_assets
    ]
    return text(union_all(parts) + order)


@lru_cache(MAX_SHAPES)
def _count_statement(shape: ChangeShape) -> Statement:
    parts = [_differing_assets(kind, shape, Page(1).shape) for kind in shape.kinds_of_assets]
    return text(f"SELECT count(*) AS differences FROM ({union_all(parts)}) differing")


def _differing_assets(kind: Kind, shape: ChangeShape, page: PageShape) -> str:
    """Render the query that selects the assets of a kind that differ."""
    candidates = []
    if shape.kinds_of_changes & VERSION_STARTS:
        candidates.append(kind.render("temporal/version_starts_between"))
    if ChangeKind.DELETED in shape.kinds_of_changes:
        candidates.append(kind.render("temporal/lifetime_ends_between"))
    conditions = [
        ("temporal/_filter_after", page.has_after),
        ("temporal/_filter_before", page.has_before),
        ("temporal/_filter_assets", shape.has_assets),
        ("temporal/_filter_actors_between", shape.has_actors),
    ]
    return kind.render(
        "temporal/differing_assets",
        direction=page.direction,
        candidates=union_all(candidates),
        filters=render_filters(kind, conditions),
    )


def _parameters(query: ChangeQuery, page: Page) -> dict[str, Any]:
    return {
        "since": query.since,
        "until": query.until,
        "after": page.after and page.after[0],
        "before": page.before and page.before[0],
        "kinds": sorted({_DIFFERENCE_OF[kind] for kind in query.kinds_of_changes}),
        "assets": query.assets,
        "actors": query.actors,
        "limit": page.limit,
    }


def _difference(query: ChangeQuery, row: Any) -> DifferenceRow:
    before = version_period(
        row,
        row.state_before,
        as_of=query.since,
        valid_from=row.from_before,
        valid_to=row.to_before,
        created_at=row.created_before,
    )
    after = version_period(
        row,
        row.state_after,
        as_of=query.until,
        valid_from=row.from_after,
        valid_to=row.to_after,
        created_at=row.created_after,
    )
    return DifferenceRow(
        asset_kind=row.kind,
        subject_id=row.subject_id,
        uid=row.uid,
        kind=DifferenceKind.ADDED if before is None else DifferenceKind.REMOVED if after is None else DifferenceKind.CHANGED,
        before=before,
        after=after,
        changed=changed_fields(KIND_OF[row.kind], row.state_before, row.state_after),
    )

"""Differences between two instants: the subjects whose state is not the same, regardless of what happened in between."""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any
from uuid import UUID

from db.connection import ReadConnection
from db.pagination import Page, PageShape, Slice
from db.sql import MAX_SHAPES, Statement, text
from db.temporal.change_query import (
    GROUPS,
    VERSION_STARTS,
    ChangeKind,
    ChangeQuery,
    ChangeShape,
    author_filters,
    cursor_ids,
    subject_filters,
    union_all,
)
from db.temporal.history import Changed, VersionPeriod, changed_between, version_period
from db.temporal.kind import Kind
from db.temporal.kinds import KIND_OF


class DifferenceKind(StrEnum):
    ADDED = "ADDED"
    REMOVED = "REMOVED"
    CHANGED = "CHANGED"


# A row `v` is valid at one of the two instants.
_VALID = (
    "v.valid_from <= CAST(:since AS timestamptz) AND v.valid_to > CAST(:since AS timestamptz)"
    " OR v.valid_from <= CAST(:until AS timestamptz) AND v.valid_to > CAST(:until AS timestamptz)"
)

# The kind of difference that corresponds to a kind of change.
_DIFFERENCE_OF = {
    ChangeKind.CREATED: DifferenceKind.ADDED,
    ChangeKind.UPDATED: DifferenceKind.CHANGED,
    ChangeKind.DELETED: DifferenceKind.REMOVED,
    ChangeKind.RESTORED: DifferenceKind.ADDED,
}


@dataclass(frozen=True, slots=True)
class DifferenceRow:
    """A subject that differs between two instants, with its period at each; None where it does not exist."""

    subject_kind: Kind
    subject_id: int
    uid: UUID
    kind: DifferenceKind
    before: VersionPeriod | None
    after: VersionPeriod | None

    @property
    def changed(self) -> list[Changed]:
        """The fields that differ. They are compared only where they are asked for."""
        return changed_between(self.subject_kind, self.before, self.after)


def cursor_key(row: DifferenceRow) -> tuple[Any, ...]:
    """Return the key of a difference in a cursor."""
    return (GROUPS[row.subject_kind], row.subject_id)


async def list_differences(connection: ReadConnection, query: ChangeQuery, page: Page) -> Slice[DifferenceRow]:
    """Return a page of the subjects that differ between `since` and `until`.

    Assets come before lineage links, and these before relationships, each in the order of their ids.
    """
    if not query.kinds_of_subjects:
        return Slice([], more=False)
    rows = await connection.fetch(_list_statement(query.shape, page.shape), _parameters(query, page))
    return page.slice(rows, lambda row: _difference(query, row))


async def count_differences(connection: ReadConnection, query: ChangeQuery) -> int:
    """Count the subjects that differ."""
    if not query.kinds_of_subjects:
        return 0
    row = await connection.fetch_one(_count_statement(query.shape), _parameters(query, Page(1)))
    return int(row.differences) if row else 0


@lru_cache(MAX_SHAPES)
def _list_statement(shape: ChangeShape, page: PageShape) -> Statement:
    limit = "LIMIT CAST(:limit AS bigint)"
    order = f"ORDER BY subject_id {page.direction} {limit}"
    whole_order = f"ORDER BY subject_group {page.direction}, subject_id {page.direction}"
    candidates, details = [], []
    for kind in shape.kinds_of_subjects:
        group = str(GROUPS[kind])
        differing = f"({_differing(kind, shape, page)}{order}) of_kind"
        candidates.append(f"SELECT {group} AS subject_group, '{kind.name}' AS kind, of_kind.* FROM {differing}")
        details.append(kind.render("temporal/differences", group=group))
    # only the differences of the page are read in detail
    with_page = f"WITH page AS MATERIALIZED (\n{union_all(candidates)}{whole_order} {limit}\n)\n"
    return text(with_page + union_all(details) + whole_order)


@lru_cache(MAX_SHAPES)
def _count_statement(shape: ChangeShape) -> Statement:
    parts = [_differing(kind, shape, Page(1).shape) for kind in shape.kinds_of_subjects]
    return text(f"SELECT count(*) AS differences FROM ({union_all(parts)}) differing")


def _differing(kind: Kind, shape: ChangeShape, page: PageShape) -> str:
    """Render the query that selects the subjects of a kind that differ."""
    candidates = []
    if shape.kinds_of_changes & VERSION_STARTS:
        candidates.append(kind.render("temporal/version_starts_between"))
    if ChangeKind.DELETED in shape.kinds_of_changes:
        ends = "temporal/lifetime_ends_between" if kind.is_asset_kind else "temporal/effective_ends_between"
        candidates.append(kind.render(ends))
    authors = "temporal/_filter_author_between" if kind.is_asset_kind else "temporal/_filter_author_between_of_ends"
    cursors = [("temporal/_filter_after", page.has_after), ("temporal/_filter_before", page.has_before)]
    filters = [
        *(kind.render(path, group=str(GROUPS[kind])) for path, wanted in cursors if wanted),
        subject_filters(kind, shape, valid=_VALID),
        author_filters(kind, shape, authors),
    ]
    return kind.render(
        "temporal/differing_subjects",
        direction=page.direction,
        candidates=union_all(candidates),
        filters="".join(filters),
    )


def _parameters(query: ChangeQuery, page: Page) -> dict[str, Any]:
    return {
        **query.parameters,
        "since": query.since,
        "until": query.until,
        **cursor_ids("after", page.after),
        **cursor_ids("before", page.before),
        "kinds": sorted({_DIFFERENCE_OF[kind] for kind in query.kinds_of_changes}),
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
        subject_kind=KIND_OF[row.kind],
        subject_id=row.subject_id,
        uid=row.uid,
        kind=DifferenceKind.ADDED if before is None else DifferenceKind.REMOVED if after is None else DifferenceKind.CHANGED,
        before=before,
        after=after,
    )

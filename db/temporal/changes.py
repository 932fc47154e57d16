"""Changes over time: the instants at which an asset or an association began, changed, ended or returned, with their causes."""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from db.connection import ReadConnection
from db.pagination import Page, Slice
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

# Combines candidates of one kind, each once.
_UNION = "UNION\n"

# A row `v` is valid just before a change or from it on.
_VALID = "v.valid_from <= candidate.at AND v.valid_to >= candidate.at"


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """A change of a subject, with the period before it and after it; None where the subject does not exist."""

    subject_kind: Kind
    subject_id: int
    uid: UUID
    kind: ChangeKind
    at: datetime
    recorded_at: datetime
    actor: str
    credential: str | None
    request_id: str | None
    before: VersionPeriod | None
    after: VersionPeriod | None

    @property
    def changed(self) -> list[Changed]:
        """The fields that differ. They are compared only where they are asked for."""
        return changed_between(self.subject_kind, self.before, self.after)


def cursor_key(row: ChangeRow) -> tuple[Any, ...]:
    """Return the key of a change in a cursor."""
    return (row.at, GROUPS[row.subject_kind], row.subject_id)


async def list_changes(connection: ReadConnection, query: ChangeQuery, page: Page) -> Slice[ChangeRow]:
    """Return a page of the changes from `since` on and before `until`, in the order of their instants.

    At one instant, assets come before lineage links, and these before relationships.
    """
    if not query.kinds_of_subjects:
        return Slice([], more=False)
    rows = await connection.fetch(_list_statement(query.shape, page.direction), _parameters(query, page))
    return page.slice(rows, _change)


async def count_changes(connection: ReadConnection, query: ChangeQuery) -> int:
    """Count the changes of a query."""
    if not query.kinds_of_subjects:
        return 0
    row = await connection.fetch_one(_count_statement(query.shape), _parameters(query, Page(1)))
    return int(row.changes) if row else 0


@lru_cache(MAX_SHAPES)
def _list_statement(shape: ChangeShape, direction: str) -> Statement:
    limit = "LIMIT CAST(:limit AS bigint)"
    order = f"ORDER BY at {direction}, subject_id {direction} {limit}\n"
    whole_order = f"ORDER BY at {direction}, subject_group {direction}, subject_id {direction}"
    # Each part of the statement reads at most the page, in the order of an index. With a filter on ids, OFFSET 0 makes the
    # planner look these up instead.
    bound = "OFFSET 0" if shape.filters & {"assets", "lineage"} else order
    candidates, details = [], []
    for kind in shape.kinds_of_subjects:
        bounded = [f"SELECT * FROM ({part}{bound}) bounded\n" for part in _candidates(kind, shape)]
        group = str(GROUPS[kind])
        candidates.append(
            f"SELECT {group} AS subject_group, '{kind.name}' AS kind, at, subject_id FROM ({_UNION.join(bounded)}{order}) of_kind"
        )
        details.append(kind.render("temporal/changes", group=group))
    # only the changes of the page are read in detail
    page = f"WITH page AS MATERIALIZED (\n{union_all(candidates)}{whole_order} {limit}\n)\n"
    return text(page + union_all(details) + whole_order)


@lru_cache(MAX_SHAPES)
def _count_statement(shape: ChangeShape) -> Statement:
    candidates = (_UNION.join(f"({candidates})\n" for candidates in _candidates(kind, shape)) for kind in shape.kinds_of_subjects)
    counts = [f"SELECT count(*) AS changes FROM ({of_kind}) candidate" for of_kind in candidates]
    return text(f"SELECT CAST(sum(changes) AS bigint) AS changes FROM ({union_all(counts)}) counts")


def _candidates(kind: Kind, shape: ChangeShape) -> list[str]:
    """Render the queries that select the instants at which subjects of a kind changed."""
    group = str(GROUPS[kind])
    filters = subject_filters(kind, shape, valid=_VALID)
    authors = author_filters(kind, shape, "temporal/_filter_author")
    candidates = []
    if shape.kinds_of_changes & VERSION_STARTS:
        kinds = "" if shape.kinds_of_changes >= VERSION_STARTS else kind.render("temporal/_filter_kinds")
        candidates.append(kind.render("temporal/version_starts", filters=filters + kinds + authors, group=group))
    if ChangeKind.DELETED in shape.kinds_of_changes:
        if kind.is_asset_kind:
            candidates.append(kind.render("temporal/lifetime_ends", filters=filters + authors, group=group))
        else:
            # An update ends a period and begins the next. If both are read, they are one candidate, so that a page reads no more
            # ends than it holds; else the ends of updates are left out.
            last = "" if shape.kinds_of_changes >= VERSION_STARTS else kind.render("temporal/_filter_last_periods")
            candidates.append(kind.render("temporal/effective_ends", filters=filters + last + authors, group=group))
    return candidates


def _parameters(query: ChangeQuery, page: Page) -> dict[str, Any]:
    after_at, *after = page.after or (query.since,)
    before_at, *before = page.before or (query.until,)
    return {
        **query.parameters,
        "after_at": after_at,
        **cursor_ids("after", after),
        "before_at": before_at,
        **cursor_ids("before", before),
        "kinds": sorted(query.kinds_of_changes),
        "limit": page.limit,
    }


def _change(row: Any) -> ChangeRow:
    return ChangeRow(
        subject_kind=KIND_OF[row.kind],
        subject_id=row.subject_id,
        uid=row.uid,
        kind=ChangeKind(row.change),
        at=row.at,
        recorded_at=row.recorded_at,
        actor=row.actor,
        credential=row.credential,
        request_id=row.request_id,
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

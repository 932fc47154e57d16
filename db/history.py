"""What an asset was, stretch by stretch, and what changed from one to the next."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from db.connection import ReadConnection
from db.pagination import Page, Slice
from db.temporal import Kind


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One stretch in which nothing about a subject changed, and what was different before it."""

    subject_id: int
    valid_from: datetime
    valid_to: datetime | None
    created_at: datetime
    recorded_at: datetime
    actor: str
    state: dict[str, Any]
    changed: list[tuple[str, Any, Any]]


async def histories(connection: ReadConnection, subject_ids: Sequence[int], kind: Kind, page: Page) -> list[Slice[VersionRow]]:
    """A page of each subject's history, oldest first."""
    rows = await connection.fetch(
        kind.statement("history", direction="DESC" if page.backward else "ASC"),
        {
            "kind": kind.name,
            "subjects": list(subject_ids),
            "after": page.after[0] if page.after else None,
            "before": page.before[0] if page.before else None,
            "limit": page.limit,
        },
    )
    by_subject: dict[int, list[Any]] = {subject_id: [] for subject_id in subject_ids}
    for row in rows:
        by_subject[row.subject_id].append(row)
    return [page.slice(by_subject[subject_id], partial(_version, kind)) for subject_id in subject_ids]


async def count_histories(connection: ReadConnection, subject_ids: Sequence[int], kind: Kind) -> list[int]:
    """How many versions each subject has."""
    rows = await connection.fetch(kind.statement("count_history"), {"subjects": list(subject_ids)})
    counts = {row.subject_id: row.versions for row in rows}
    return [counts.get(subject_id, 0) for subject_id in subject_ids]


def _version(kind: Kind, row: Any) -> VersionRow:
    before = row.state_before or dict.fromkeys(row.state)
    return VersionRow(
        subject_id=row.subject_id,
        valid_from=row.valid_from,
        valid_to=row.valid_to,
        created_at=row.created_at,
        recorded_at=row.recorded_at,
        actor=row.actor,
        state=row.state,
        changed=[(field, before[field], row.state[field]) for field in kind.fields if before[field] != row.state[field]],
    )

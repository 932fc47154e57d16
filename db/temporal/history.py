"""What an asset was, stretch by stretch, and what changed from one to the next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import orjson

from db.connection import ReadConnection
from db.pagination import Page, Slice
from db.temporal.kind import Kind

# A field, what it was, and what it became.
Changed = tuple[str, Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionPeriod:
    """One stretch in which nothing about a subject changed, read at an instant in it."""

    subject_id: int
    type: str | None
    key: str | None
    as_of: datetime
    valid_from: datetime
    valid_to: datetime | None
    created_at: datetime
    state: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRow(VersionPeriod):
    """A stretch read at its beginning, who said so, and what was different before it."""

    recorded_at: datetime
    actor: str
    changed: list[Changed]


async def histories(connection: ReadConnection, subject_ids: Sequence[int], kind: Kind, page: Page) -> list[Slice[VersionRow]]:
    """A page of each subject's history, oldest first."""
    rows = await connection.fetch(
        kind.statement("temporal/history", direction=page.direction),
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
    rows = await connection.fetch(kind.statement("temporal/count_history"), {"subjects": list(subject_ids)})
    counts = {row.subject_id: row.versions for row in rows}
    return [counts.get(subject_id, 0) for subject_id in subject_ids]


def _version(kind: Kind, row: Any) -> VersionRow:
    return VersionRow(
        subject_id=row.subject_id,
        type=row.type,
        key=row.key,
        as_of=row.valid_from,
        valid_from=row.valid_from,
        valid_to=row.valid_to,
        created_at=row.created_at,
        state=row.state,
        recorded_at=row.recorded_at,
        actor=row.actor,
        changed=changed_fields(kind, row.state_before, row.state),
    )


def changed_fields(kind: Kind, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[Changed]:
    """How two states differ, field by field, and detail by detail; None: there is nothing."""
    compared: list[Changed] = []
    for field in kind.fields:
        was, becomes = (before or {}).get(field), (after or {}).get(field)
        if field == "details":
            was, becomes = was or {}, becomes or {}
            compared += [
                (f"{field}.{type_}", was.get(type_), becomes.get(type_)) for type_ in sorted(was.keys() | becomes.keys())
            ]
        else:
            compared.append((field, was, becomes))
    return [it for it in compared if _as_json(it[1]) != _as_json(it[2])]


def _as_json(value: Any) -> bytes:
    """In a form in which 1 and true, which Python holds to be equal, are not."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)

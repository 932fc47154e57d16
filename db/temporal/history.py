"""Version history of subjects: the periods in which the state did not change, and the fields that differ between them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

import orjson

from db.connection import ReadConnection
from db.pagination import Page, Slice
from db.temporal.kind import Kind


class Changed(NamedTuple):
    """A field that differs between two states."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionPeriod:
    """A period in which the state of a subject did not change, read at an instant within it."""

    subject_id: int
    type: str | None
    as_of: datetime
    valid_from: datetime
    valid_to: datetime | None
    created_at: datetime
    state: dict[str, Any]
    # of an association: its ends, and the part that tells it apart from others
    identity: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRow(VersionPeriod):
    """A version period read at its start, with the log entry that caused it and the fields that changed."""

    recorded_at: datetime
    actor: str
    credential: str | None
    changed: list[Changed]


async def histories(connection: ReadConnection, subject_ids: Sequence[int], kind: Kind, page: Page) -> list[Slice[VersionRow]]:
    """Return a page of the history of each subject, oldest first."""
    rows = await connection.fetch(
        kind.statement("temporal/history", direction=page.direction),
        {
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
    """Count the versions of each subject."""
    rows = await connection.fetch(kind.statement("temporal/count_history"), {"subjects": list(subject_ids)})
    counts = {row.subject_id: row.versions for row in rows}
    return [counts.get(subject_id, 0) for subject_id in subject_ids]


def version_period(
    row: Any,
    state: dict[str, Any] | None,
    *,
    as_of: datetime,
    valid_from: datetime,
    valid_to: datetime | None,
    created_at: datetime,
) -> VersionPeriod | None:
    """Build the version period of the subject of a row; None if it has no state, for then it does not exist."""
    if state is None:
        return None
    return VersionPeriod(
        subject_id=row.subject_id,
        type=row.type,
        as_of=as_of,
        valid_from=valid_from,
        valid_to=valid_to,
        created_at=created_at,
        state=state,
        identity=row.identity,
    )


def changed_between(kind: Kind, before: VersionPeriod | None, after: VersionPeriod | None) -> list[Changed]:
    """List the fields in which two periods differ. None is one in which the subject does not exist."""
    return changed_fields(kind, None if before is None else before.state, None if after is None else after.state)


def changed_fields(kind: Kind, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[Changed]:
    """List the fields in which two states differ; the details of an entity one by one. None is the state of what does not
    exist."""
    compared: list[Changed] = []
    for field in kind.fields:
        value_before, value_after = (before or {}).get(field), (after or {}).get(field)
        if field == "details":
            details_before, details_after = value_before or {}, value_after or {}
            compared += [
                Changed(f"{field}.{type_}", details_before.get(type_), details_after.get(type_))
                for type_ in sorted(details_before.keys() | details_after.keys())
            ]
        else:
            compared.append(Changed(field, value_before, value_after))
    return [it for it in compared if _as_json(it.before) != _as_json(it.after)]


def _version(kind: Kind, row: Any) -> VersionRow:
    return VersionRow(
        subject_id=row.subject_id,
        type=row.type,
        as_of=row.valid_from,
        valid_from=row.valid_from,
        valid_to=row.valid_to,
        created_at=row.created_at,
        state=row.state,
        recorded_at=row.recorded_at,
        actor=row.actor,
        credential=row.credential,
        changed=changed_fields(kind, row.state_before, row.state),
    )


def _as_json(value: Any) -> bytes:
    """Encode a value for comparison. Unlike in Python, 1 and true differ in JSON."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)

"""The append-only change log, and the versions that are folded from it.

One mechanism serves every versioned kind: the kind names its tables, and the statements adapt to them. See docs/time.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

import orjson
from sqlalchemy import Row

from db.connection import ReadConnection, WriteConnection
from db.errors import BadInput, Conflict, HeadwaterError, NotFound
from db.instants import write_instant
from db.sql import statement
from db.temporal.kind import Kind, in_package
from db.temporal.write_domains import require_domains

T = TypeVar("T")

# How far ahead of the database's clock an instant may be: enough for clocks that differ, too little to plan with.
TOLERANCE = timedelta(seconds=5)

_HAS_CHANGES = statement("temporal/has_changes")


class Operation(StrEnum):
    """Operation of a change: SET the whole state, SET it unless the subject exists (STUB), PATCH some fields, or DELETE."""

    SET = "SET"
    STUB = "STUB"
    PATCH = "PATCH"
    DELETE = "DELETE"


class Assertion(NamedTuple):
    """A change to append: an operation on one subject from an instant on; without an instant, from now on. With `creating`, it is
    refused if the subject exists then."""

    subject_id: int
    operation: Operation
    payload: Mapping[str, Any] | None = None
    at: datetime | None = None
    creating: bool = False


class Outcome(NamedTuple):
    """Outcome of an accepted change.

    `at` is the instant from which it is valid, and `changed` is true if it changed the state. `created` is true if the subject is
    new. `replayed` is true if the log held the same change already; then `at` and `changed` are those of the first time.
    """

    subject_id: int
    at: datetime
    changed: bool
    created: bool = False
    replayed: bool = False


async def record_changes(
    connection: WriteConnection, kind: Kind, assertions: Sequence[Assertion], *, reject_restatement: bool = False
) -> list[Outcome | HeadwaterError]:
    """Append changes of associations and update their versions. Each change is accepted or refused for itself. The caller holds the
    locks of the subjects. Changes of assets have consequences for other subjects: record them with `db.consistency.lifecycle`."""
    assert not kind.is_asset_kind, "changes of assets are recorded by db.consistency.lifecycle"
    return outcomes_of(kind, await append_changes(connection, kind, assertions, reject_restatement=reject_restatement))


async def append_changes(
    connection: WriteConnection, kind: Kind, assertions: Sequence[Assertion], *, reject_restatement: bool = False
) -> Sequence[Row[Any]]:
    """Append changes in the order of their instants, update versions and projections, and return a row with the verdict of each.

    A batch may hold one change of a subject at an instant, apart from repetitions. With `reject_restatement`, that applies to all
    batches of one request.
    """
    await require_domains(connection, kind, [it.subject_id for it in assertions], [it.at for it in assertions])
    rows = await connection.fetch(
        kind.statement("temporal/append_changes"),
        {
            "kind": kind.name,
            "subjects": [it.subject_id for it in assertions],
            "operations": [it.operation.value for it in assertions],
            "payloads": [None if it.payload is None else orjson.dumps(it.payload).decode() for it in assertions],
            "instants": [it.at for it in assertions],
            "creating": [it.creating for it in assertions],
            "reject_restatement": reject_restatement,
            "tolerance": TOLERANCE,
            "actor": connection.author.actor,
            "request_id": connection.author.request_id,
        },
    )
    out_of_order = [row for row in rows if row.verdict == "OUT_OF_ORDER"]
    await rebuild_since(connection, kind, "temporal/rebuild_versions", out_of_order)
    effective = [row for row in rows if row.verdict in ("IN_ORDER", "OUT_OF_ORDER")]
    for projection in kind.projections:
        await rebuild_since(connection, kind, in_package(projection, "project"), effective)
    await require_domains(connection, kind, [row.subject_id for row in rows], [row.instant for row in rows])
    # A later read without `asOf` on this connection includes what was written as of now.
    written_now = [row.instant for row, assertion in zip(rows, assertions, strict=True) if assertion.at is None]
    connection.now = max([connection.now, *written_now])
    return rows


def outcomes_of(kind: Kind, rows: Sequence[Row[Any]]) -> list[Outcome | HeadwaterError]:
    """Convert rows of `append_changes` to outcomes and errors."""
    return [
        _error_of(kind, row) or Outcome(row.subject_id, row.instant, row.changed, row.created, row.verdict == "REPLAYED")
        for row in rows
    ]


def raise_first_error(outcomes: Iterable[T | HeadwaterError]) -> list[T]:
    """Raise the first error, or return all outcomes."""
    accepted = []
    for outcome in outcomes:
        if isinstance(outcome, HeadwaterError):
            raise outcome
        accepted.append(outcome)
    return accepted


async def rebuild_since(connection: WriteConnection, kind: Kind, statement: str, rows: Sequence[Row[Any]]) -> None:
    """Run a statement that rebuilds rows derived from the log, for each subject of `rows` since its first instant among them."""
    since: dict[int, datetime] = {}
    for row in rows:
        since[row.subject_id] = min(row.instant, since.get(row.subject_id, row.instant))
    if since:
        parameters = {"kind": kind.name, "subjects": list(since), "instants": list(since.values())}
        await connection.execute(kind.statement(statement), parameters)


async def has_changes(connection: ReadConnection) -> bool:
    """Return True if anything was ever written in this tenant."""
    row = await connection.fetch_one(_HAS_CHANGES)
    return row is not None and bool(row.has_changes)


def future_instant_error(instant: datetime | None, now: datetime) -> BadInput | None:
    """Return an error if an instant is too far in the future to be written."""
    if instant is None or instant <= now + TOLERANCE:
        return None
    limit = round(TOLERANCE.total_seconds())
    return BadInput(
        f"at is {write_instant(instant)}, more than {limit} seconds ahead of the clock ({write_instant(now)})."
        " Give an instant that is not in the future.",
        field="at",
    )


def _error_of(kind: Kind, row: Row[Any]) -> HeadwaterError | None:
    instant = write_instant(row.instant)
    match row.verdict:
        case "FUTURE":
            return future_instant_error(row.instant, row.now)
        case "NOT_FOUND":
            return NotFound(f"This {kind.label} does not exist at {instant}.")
        case "ALREADY_EXISTS":
            return Conflict(f"This {kind.label} exists at {instant} already.", field="uid")
        case "CONTRADICTORY":
            return Conflict(f"This request gives this {kind.label} two states at {instant}. Give one.", field="at")
    return None

"""Time: an append-only log of what was asserted, and tables of versions that are its fold.

One mechanism for every versioned kind. A kind names its table; the rest follows from the columns of it. See docs/time.md.
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

# How far ahead of the database's clock an assertion may be: enough for clocks that disagree, too little to plan with.
TOLERANCE = timedelta(seconds=5)

_HAS_CHANGES = statement("temporal/has_changes")


class Operation(StrEnum):
    """What an assertion does: state the whole, say that it is there whatever it may be, state some fields, or end it."""

    SET = "SET"
    STUB = "STUB"
    PATCH = "PATCH"
    DELETE = "DELETE"


class Assertion(NamedTuple):
    """Something said about one subject, to hold from an instant on; without one, from now on."""

    subject_id: int
    operation: Operation
    payload: Mapping[str, Any] | None = None
    at: datetime | None = None
    creating: bool = False


class Outcome(NamedTuple):
    """From when the assertion holds, and whether it changed anything when it was first heard, which is before now if it is
    replayed. Created: nothing had ever been said of its subject."""

    subject_id: int
    at: datetime
    changed: bool
    created: bool = False
    replayed: bool = False


async def record_changes(
    connection: WriteConnection, kind: Kind, assertions: Sequence[Assertion], *, reject_restatement: bool = False
) -> list[Outcome | HeadwaterError]:
    """Write assertions into the log and bring the versions up to it. Each is accepted or refused by itself. The caller holds the
    subjects' locks; what is said of assets goes through `db.life`, for more follows of it."""
    assert not kind.is_asset_kind, "what is said of assets has consequences"
    return outcomes_of(kind, await append_changes(connection, kind, assertions, reject_restatement=reject_restatement))


async def append_changes(
    connection: WriteConnection, kind: Kind, assertions: Sequence[Assertion], *, reject_restatement: bool = False
) -> Sequence[Row[Any]]:
    """Write assertions and bring the versions, and what is projected of them, up to the log: what became of each. A batch is
    heard in the order of its instants, and says one thing of a subject at one instant; with `once`, so does everything that one
    request writes."""
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
    await rebuild_since(connection, kind, "temporal/rebuild_versions", [row for row in rows if row.verdict == "OUT_OF_ORDER"])
    for projection in kind.projections:
        await rebuild_since(
            connection,
            kind,
            in_package(projection, "project"),
            [row for row in rows if row.verdict in ("IN_ORDER", "OUT_OF_ORDER")],
        )
    await require_domains(connection, kind, [row.subject_id for row in rows], [row.instant for row in rows])
    # what was written as of now is read back as of now
    connection.now = max([connection.now, *(row.instant for row, it in zip(rows, assertions, strict=True) if it.at is None)])
    return rows


def outcomes_of(kind: Kind, rows: Sequence[Row[Any]]) -> list[Outcome | HeadwaterError]:
    """What became of assertions, as callers are told."""
    return [
        _error_of(kind, row) or Outcome(row.subject_id, row.instant, row.changed, row.created, row.verdict == "REPLAYED")
        for row in rows
    ]


def raise_first_error(outcomes: Iterable[T | HeadwaterError]) -> list[T]:
    """What became of each; the first that was refused is raised."""
    kept = []
    for outcome in outcomes:
        if isinstance(outcome, HeadwaterError):
            raise outcome
        kept.append(outcome)
    return kept


async def rebuild_since(connection: WriteConnection, kind: Kind, statement: str, rows: Sequence[Row[Any]]) -> None:
    """Bring subjects up to their log from the first instant on at which these rows changed it."""
    since: dict[int, datetime] = {}
    for row in rows:
        since[row.subject_id] = min(row.instant, since.get(row.subject_id, row.instant))
    if since:
        named = {"kind": kind.name, "subjects": list(since), "instants": list(since.values())}
        await connection.execute(kind.statement(statement), named)


async def has_changes(connection: ReadConnection) -> bool:
    """Whether anything was ever written in this tenant."""
    row = await connection.fetch_one(_HAS_CHANGES)
    return row is not None and bool(row.recorded)


def future_instant_error(instant: datetime | None, now: datetime) -> BadInput | None:
    """Why an instant cannot be written for yet, if it cannot."""
    if instant is None or instant <= now + TOLERANCE:
        return None
    limit = round(TOLERANCE.total_seconds())
    return BadInput(
        f"at is {write_instant(instant)}, more than {limit} seconds ahead of the clock "
        f"({write_instant(now)}). What is written holds from an instant that has come.",
        field="at",
    )


def _error_of(kind: Kind, row: Any) -> HeadwaterError | None:
    moment = write_instant(row.instant)
    match row.verdict:
        case "FUTURE":
            return future_instant_error(row.instant, row.now)
        case "NOT_FOUND":
            return NotFound(f"This {kind.label} does not exist at {moment}.")
        case "ALREADY_EXISTS":
            return Conflict(f"This {kind.label} exists at {moment} already.", field="uid")
        case "CONTRADICTORY":
            return Conflict(f"Another state of this {kind.label} at {moment} was given just before.", field="at")
    return None

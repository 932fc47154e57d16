"""The append-only change log, and the versions that are folded from it.

One mechanism serves every versioned kind: the kind names its tables, and the statements adapt to them. See docs/time.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import orjson

from db.audit_entry import ONE_ROW
from db.connection import ReadConnection, WriteConnection
from db.errors import BadInput, Conflict, HeadwaterError, NotFound
from db.instants import write_instant
from db.rows import Row
from db.sql import statement
from db.temporal.kind import Kind, projection_path
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


class Verdict(StrEnum):
    """Verdict of append_changes.sql on a change."""

    # Accepted and applied: the only change of its subject in the batch, and later than all others in the log.
    IN_ORDER = "IN_ORDER"
    # Accepted, and applied by rebuild_versions.sql: a late change, or one of several instants of a subject in one batch.
    OUT_OF_ORDER = "OUT_OF_ORDER"
    # Accepted, but the state was the same already: the log gets an entry, the versions stay.
    UNCHANGED = "UNCHANGED"
    # Not appended, for the same change is in the log or earlier in the batch. It counts as accepted.
    REPLAYED = "REPLAYED"
    # Refused: the same request, or an earlier change of the batch, gives the subject another state at that instant.
    CONTRADICTORY = "CONTRADICTORY"
    # Refused: the change is `creating`, and the subject exists at that instant.
    ALREADY_EXISTS = "ALREADY_EXISTS"
    # Refused: a PATCH of a subject that does not exist at that instant, or a DELETE of one that never existed until then.
    NOT_FOUND = "NOT_FOUND"
    # Refused: the instant is too far in the future.
    FUTURE = "FUTURE"


class Assertion(NamedTuple):
    """A change to append: an operation on one subject from an instant on; without an instant, from now on. With `creating`, it is
    refused if the subject exists then."""

    subject_id: int
    operation: Operation
    payload: Mapping[str, Any] | None = None
    at: datetime | None = None
    creating: bool = False


class CurrentVersion(NamedTuple):
    """The version that is valid from a change on: the state, and the instant at which the subject was first created."""

    state: Mapping[str, Any]
    created_at: datetime


class Outcome(NamedTuple):
    """Outcome of an accepted change.

    `at` is the instant from which it is valid, and `changed` is true if it changed the state. `created` is true if the subject is
    new. `replayed` is true if the log held the same change already; then `at` and `changed` are those of the first time.
    `version` is the version that is valid then, if states were wanted and it is known without a further read, and `row` the asset
    with this version. `uid` is that of the subject, if the write has found it.
    """

    subject_id: int
    at: datetime
    changed: bool
    created: bool = False
    replayed: bool = False
    version: CurrentVersion | None = None
    row: Any = None
    uid: UUID | None = None


async def record_changes(
    connection: WriteConnection, kind: Kind, assertions: Sequence[Assertion], *, reject_restatement: bool = False
) -> list[Outcome | HeadwaterError]:
    """Record changes of associations (never of assets), and return the outcome or error of each.

    The caller has locked the subjects. Changes of assets affect other subjects: `record_asset_changes` of
    db.consistency.lifecycle records them.
    """
    assert not kind.is_asset_kind, "changes of assets are recorded by db.consistency.lifecycle"
    return outcomes_of(kind, await append_changes(connection, kind, assertions, reject_restatement=reject_restatement))


async def append_changes(
    connection: WriteConnection,
    kind: Kind,
    assertions: Sequence[Assertion],
    *,
    reject_restatement: bool = False,
    with_states: bool = False,
) -> Sequence[Row]:
    """Append changes in the order of their instants, update versions and projections, and return a row with the verdict of each.

    append_changes.sql applies a change that is later than all others of its subject to the versions. A late change (OUT_OF_ORDER)
    is only appended by it; then rebuild_versions.sql folds the log of the subject again from the instant of the change on.

    A batch may hold one change of a subject at an instant, apart from repetitions. With `reject_restatement`, that applies to all
    batches of one request.
    """
    await require_domains(connection, kind, [it.subject_id for it in assertions], [it.at for it in assertions])
    rows = await connection.fetch(
        kind.statement("temporal/append_changes", audited_rows=ONE_ROW),
        {
            "kind": kind.name,
            "subjects": [it.subject_id for it in assertions],
            "operations": [it.operation.value for it in assertions],
            "payloads": [None if it.payload is None else orjson.dumps(it.payload).decode() for it in assertions],
            "instants": [it.at for it in assertions],
            "creating": [it.creating for it in assertions],
            "with_states": with_states,
            "reject_restatement": reject_restatement,
            "tolerance": TOLERANCE,
            "producer": connection.author.producer,
            **connection.audit_entry(),
        },
    )
    connection.note_audit_entry()
    with_effect = [row for row in rows if row.verdict in (Verdict.IN_ORDER, Verdict.OUT_OF_ORDER)]
    out_of_order = [row for row in with_effect if row.verdict == Verdict.OUT_OF_ORDER]
    await rebuild_since(connection, kind, "temporal/rebuild_versions", out_of_order)
    # The SQL of a projection may be in a package above this one; the kind knows it by its path.
    for projection in kind.projections:
        await rebuild_since(connection, kind, projection_path(projection, "project"), with_effect)
    await require_domains(connection, kind, [row.subject_id for row in rows], [row.instant for row in rows])
    # A later read without `asOf` on this connection includes what was written as of now.
    for row, assertion in zip(rows, assertions, strict=True):
        if assertion.at is None:
            connection.advance_now(row.instant)
    return rows


async def append_in_order(
    connection: WriteConnection, kind: Kind, uid: UUID, payload: Mapping[str, Any], at: datetime | None
) -> Row | None:
    """Lock an asset until the transaction ends, and append a PATCH of it if it is in order.

    Return the row of append_in_order.sql, or None if no asset has the uid. The row has no `instant` if nothing was appended; then
    `append_changes` judges the change. The caller has checked that the author may write in all domains.
    """
    row = await connection.fetch_one(
        kind.statement("temporal/append_in_order", audited_rows="accepted"),
        {
            "uid": uid,
            "payload": payload,
            "instant": at,
            "tolerance": TOLERANCE,
            "producer": connection.author.producer,
            **connection.audit_entry(),
        },
    )
    if row is not None and row.instant is not None:
        connection.note_audit_entry()
        if at is None:
            connection.advance_now(row.instant)
    return row


def outcomes_of(kind: Kind, rows: Sequence[Row]) -> list[Outcome | HeadwaterError]:
    """Convert rows of `append_changes` to outcomes and errors."""
    return [
        _error_of(kind, row)
        or Outcome(
            row.subject_id, row.instant, row.changed, row.created, row.verdict == Verdict.REPLAYED, current_version(kind, row)
        )
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


async def rebuild_since(connection: WriteConnection, kind: Kind, path: str, rows: Sequence[Row]) -> None:
    """Run `db/<path>.sql`, which rebuilds derived rows, for each subject of `rows` since its first instant among them.

    Such a statement rebuilds versions from the log, projects versions to another table, or clips associations to lifetimes.
    """
    since: dict[int, datetime] = {}
    for row in rows:
        since[row.subject_id] = min(row.instant, since.get(row.subject_id, row.instant))
    if since:
        parameters = {"kind": kind.name, "subjects": list(since), "instants": list(since.values())}
        await connection.execute(kind.statement(path), parameters)


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


def current_version(kind: Kind, row: Row) -> CurrentVersion | None:
    """Return the version that is valid from a change on, if its row has it."""
    if row.state is None or row.created_at is None:
        return None
    return CurrentVersion({field: row.state.get(field) for field in kind.fields}, row.created_at)


def _error_of(kind: Kind, row: Row) -> HeadwaterError | None:
    instant = write_instant(row.instant)
    match row.verdict:
        case Verdict.FUTURE:
            return future_instant_error(row.instant, row.now)
        case Verdict.NOT_FOUND:
            return NotFound(f"This {kind.label} does not exist at {instant}.")
        case Verdict.ALREADY_EXISTS:
            return Conflict(f"This {kind.label} exists at {instant} already.", field="uid")
        case Verdict.CONTRADICTORY:
            return Conflict(f"This request gives this {kind.label} two states at {instant}. Give one.", field="at")
    return None

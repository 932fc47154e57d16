"""Time: an append-only log of what was asserted, and tables of versions that are its fold.

One mechanism for every versioned kind. A kind names its table; the rest follows from the table's columns. See docs/time.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Table, TextClause, text

from db.connection import ReadConnection, WriteConnection
from db.errors import BadInput, Conflict, NotFound
from db.sql import load

# How far ahead of the database's clock an assertion may be: enough for clocks that disagree, too little to plan with.
TOLERANCE = timedelta(seconds=5)

_ANYTHING_RECORDED = text(load("anything_recorded"))

_BOOKKEEPING = {"tenant_id", "valid_from", "valid_to", "digest"}


class Operation(StrEnum):
    """What an assertion does: state the whole, state some fields, or end it."""

    SET = "SET"
    PATCH = "PATCH"
    DELETE = "DELETE"


@dataclass(frozen=True, slots=True)
class Assertion:
    """Something said about one subject, to hold from an instant on; without one, from now on."""

    subject_id: int
    operation: Operation
    payload: Mapping[str, Any] | None = None
    at: datetime | None = None
    creating: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """From when the assertion holds, and whether it changed anything when it was first heard."""

    subject_id: int
    at: datetime
    changed: bool


class Kind:
    """A versioned kind: its name in the log and its table of versions. Every column that is not bookkeeping is a field."""

    def __init__(self, name: str, versions: Table, *, subject: str = "asset_id") -> None:
        self.name = name
        self.versions = versions
        self.subject = subject
        self.fields = tuple(
            column.name
            for column in versions.columns
            if column.name not in _BOOKKEEPING and column.name != subject and column.computed is None
        )

    def at(self, instant: datetime) -> ColumnElement[bool]:
        """The condition under which a version holds at an instant. Scalar comparisons, so that an index may serve it."""
        columns = self.versions.columns
        return (columns.valid_from <= instant) & (columns.valid_to > instant)

    def statement(self, name: str, *, direction: str = "ASC") -> TextClause:
        """A fixed statement, told which table and which fields it is about."""
        return _statement(self, name, direction)

    def state_of(self, row: str) -> str:
        """A row of the version table as the log writes it."""
        return "jsonb_build_object(" + ", ".join(f"'{field}', {row}.\"{field}\"" for field in self.fields) + ")"


@cache
def _statement(kind: Kind, name: str, direction: str) -> TextClause:
    statement = load(name).replace("{fold}", load("fold"))
    for token, meaning in {
        "{versions}": kind.versions.name,
        "{subject}": kind.subject,
        "{columns}": ", ".join(f'"{field}"' for field in kind.fields),
        "{state}": kind.state_of("v"),
        "{state_before}": kind.state_of("p"),
        "{values}": kind.state_of("after"),
        "{direction}": direction,
    }.items():
        statement = statement.replace(token, meaning)
    return text(statement)


async def record(connection: WriteConnection, kind: Kind, assertions: Sequence[Assertion]) -> list[Outcome]:
    """Write assertions, one a subject, into the log and bring the versions up to it. The caller holds the subjects' locks."""
    if len({it.subject_id for it in assertions}) < len(assertions):
        raise ValueError("a batch says one thing of each subject")
    rows = await connection.fetch(
        kind.statement("record"),
        {
            "kind": kind.name,
            "subjects": [it.subject_id for it in assertions],
            "operations": [it.operation.value for it in assertions],
            "payloads": [None if it.payload is None else orjson.dumps(it.payload).decode() for it in assertions],
            "instants": [it.at for it in assertions],
            "creating": [it.creating for it in assertions],
            "tolerance": TOLERANCE,
            "actor": connection.author.actor,
            "request_id": connection.author.request_id,
        },
    )
    for row in rows:
        _refuse(kind, row.verdict, row.instant, row.now)
    late = [row for row in rows if row.verdict == "LATE"]
    if late:
        await connection.execute(
            kind.statement("refold"),
            {
                "kind": kind.name,
                "subjects": [row.subject_id for row in late],
                "instants": [row.instant for row in late],
            },
        )
    # what was written as of now is read back as of now
    connection.now = max([connection.now, *(row.instant for row, it in zip(rows, assertions, strict=True) if it.at is None)])
    return [Outcome(row.subject_id, row.instant, row.changed) for row in rows]


async def anything_recorded(connection: ReadConnection) -> bool:
    """Whether anything was ever written in this tenant."""
    row = await connection.fetch_one(_ANYTHING_RECORDED)
    return row is not None and bool(row.recorded)


def _refuse(kind: Kind, verdict: str, instant: datetime, now: datetime) -> None:
    moment = instant.astimezone(UTC).isoformat()
    match verdict:
        case "AHEAD":
            limit = round(TOLERANCE.total_seconds())
            raise BadInput(
                f"at is {moment}, more than {limit} seconds ahead of the clock ({now.astimezone(UTC).isoformat()}). "
                "What is written holds from an instant that has come.",
                field="at",
            )
        case "MISSING":
            raise NotFound(f"This {kind.name.lower()} does not exist at {moment}.")
        case "TAKEN":
            raise Conflict(f"This {kind.name.lower()} exists at {moment} already.", field="uid")

"""Time: an append-only log of what was asserted, and tables of versions that are its fold.

One mechanism for every versioned kind. A kind names its table; the rest follows from the table's columns. See docs/time.md.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any, NamedTuple, cast

import orjson
from sqlalchemy import ColumnElement, Table, TextClause, text

from db.connection import ReadConnection, WriteConnection
from db.errors import BadInput, Conflict, HeadwaterError, NotFound
from db.instants import write_instant
from db.sql import load
from db.tables import asset as assets

# How far ahead of the database's clock an assertion may be: enough for clocks that disagree, too little to plan with.
TOLERANCE = timedelta(seconds=5)

_ANYTHING_RECORDED = text(load("anything_recorded"))

_BOOKKEEPING = {"tenant_id", "valid_from", "valid_to", "created_at", "digest"}


class Operation(StrEnum):
    """What an assertion does: state the whole, state some fields, or end it."""

    SET = "SET"
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


# An instant that is known, or that a row of the statement bears.
Instant = datetime | ColumnElement[datetime]


class Kind:
    """A versioned kind: its name in the log and its table of versions. Every column that is not bookkeeping is a field.

    A projection is another table that is kept in step with the versions: `project_<name>` does it, `verify_<name>` compares. The
    subjects of a kind are assets, whose lives are such a projection too, or have a table of identities of their own.
    """

    def __init__(
        self,
        name: str,
        versions: Table,
        *,
        subject: str = "asset_id",
        identities: Table = assets,
        projections: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.versions = versions
        self.subject = subject
        self.identities = identities
        self.of_assets = identities is assets
        self.projections = tuple(projections)
        self.fields = tuple(
            column.name
            for column in versions.columns
            if column.name not in _BOOKKEEPING and column.name != subject and column.computed is None
        )

    def at(self, instant: Instant) -> ColumnElement[bool]:
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
    statement = load(name)
    for token, meaning in {
        "{kind}": kind.name,
        "{versions}": kind.versions.name,
        "{identities}": kind.identities.name,
        "{of_kind}": f"i.kind = '{kind.name}'" if kind.of_assets else "true",
        "{subject}": kind.subject,
        "{columns}": ", ".join(f'"{field}"' for field in kind.fields),
        "{after}": ", ".join(f'after."{field}"' for field in kind.fields),
        "{state}": kind.state_of("v"),
        "{state_before}": kind.state_of("p"),
        "{values}": kind.state_of("after"),
        "{direction}": direction,
    }.items():
        statement = statement.replace(token, meaning)
    return text(statement)


async def record(connection: WriteConnection, kind: Kind, assertions: Sequence[Assertion]) -> list[Outcome]:
    """Write assertions into the log and bring the versions up to it; the first that is refused is raised. The caller holds the
    subjects' locks."""
    outcomes = await record_each(connection, kind, assertions)
    for outcome in outcomes:
        if isinstance(outcome, HeadwaterError):
            raise outcome
    return cast(list[Outcome], outcomes)


async def record_each(
    connection: WriteConnection, kind: Kind, assertions: Sequence[Assertion], *, once: bool = False
) -> list[Outcome | HeadwaterError]:
    """The same, where each assertion is accepted or refused by itself. A batch is heard in the order of its instants, and says
    one thing of a subject at one instant; with `once`, so does everything that one request writes."""
    rows = await connection.fetch(
        kind.statement("record"),
        {
            "kind": kind.name,
            "subjects": [it.subject_id for it in assertions],
            "operations": [it.operation.value for it in assertions],
            "payloads": [None if it.payload is None else orjson.dumps(it.payload).decode() for it in assertions],
            "instants": [it.at for it in assertions],
            "creating": [it.creating for it in assertions],
            "once": once,
            "tolerance": TOLERANCE,
            "actor": connection.author.actor,
            "request_id": connection.author.request_id,
        },
    )
    await _follow(connection, kind, "refold", [row for row in rows if row.verdict == "LATE"])
    for projection in kind.projections:
        await _follow(connection, kind, f"project_{projection}", [row for row in rows if row.verdict in ("NEWER", "LATE")])
    if kind.of_assets:
        await _follow_lives(connection, kind, [row for row in rows if row.of_life])
    # what was written as of now is read back as of now
    connection.now = max([connection.now, *(row.instant for row, it in zip(rows, assertions, strict=True) if it.at is None)])
    return [
        _refusal(kind, row) or Outcome(row.subject_id, row.instant, row.changed, row.created, row.verdict == "REPLAYED")
        for row in rows
    ]


async def _follow(connection: WriteConnection, kind: Kind, statement: str, rows: Sequence[Any]) -> None:
    """Bring subjects up to their log from the first instant on at which these rows changed it."""
    since: dict[int, datetime] = {}
    for row in rows:
        since[row.subject_id] = min(row.instant, since.get(row.subject_id, row.instant))
    if since:
        named = {"kind": kind.name, "subjects": list(since), "instants": list(since.values())}
        await connection.execute(kind.statement(statement), named)


async def _follow_lives(connection: WriteConnection, kind: Kind, rows: Sequence[Any]) -> None:
    """Bring the lives of assets up to their versions, and what hangs on those lives up to them."""
    await _follow(connection, kind, "project_lives", rows)
    # nothing hangs on what nobody had heard of
    heard = [row for row in rows if not row.unheard]
    if heard:
        await connection.execute(kind.statement("lock_links_of_assets"), {"subjects": sorted({row.subject_id for row in heard})})
        await _follow(connection, kind, "cut_links", heard)


async def anything_recorded(connection: ReadConnection) -> bool:
    """Whether anything was ever written in this tenant."""
    row = await connection.fetch_one(_ANYTHING_RECORDED)
    return row is not None and bool(row.recorded)


def ahead(instant: datetime | None, now: datetime) -> BadInput | None:
    """Why an instant cannot be written for yet, if it cannot."""
    if instant is None or instant <= now + TOLERANCE:
        return None
    limit = round(TOLERANCE.total_seconds())
    return BadInput(
        f"at is {write_instant(instant)}, more than {limit} seconds ahead of the clock "
        f"({write_instant(now)}). What is written holds from an instant that has come.",
        field="at",
    )


def _refusal(kind: Kind, row: Any) -> HeadwaterError | None:
    moment = write_instant(row.instant)
    match row.verdict:
        case "AHEAD":
            return ahead(row.instant, row.now)
        case "MISSING":
            return NotFound(f"This {kind.name.lower()} does not exist at {moment}.")
        case "TAKEN":
            return Conflict(f"This {kind.name.lower()} exists at {moment} already.", field="uid")
        case "CONTESTED":
            return Conflict(f"Another state of this {kind.name.lower()} at {moment} was given just before.", field="at")
    return None

"""Conflicts between the statements of a batch, and between these and stored facts.

A writer returns the conflicts that it finds. `write_resolving_conflicts` alone decides which statements lose: it rolls back what
the writer wrote, and has it write the other statements again.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple, TypeAlias, TypeVar

from db.connection import WriteConnection
from db.errors import Conflict, HeadwaterError, ResolvableConflict, TransactionConflict
from db.temporal.change_log import Outcome
from db.temporal.kind import Kind

Statement = TypeVar("Statement")

# Outcomes of statements by their indexes in the batch.
Results: TypeAlias = dict[int, Outcome | HeadwaterError]
# A subject of any kind: the name of its identity table, and its id in it.
Subject: TypeAlias = tuple[str, int]


class SubjectChange(NamedTuple):
    """A subject that a statement changes: from which instant on, and the index of the statement in the batch."""

    subject: Subject
    at: datetime
    statement_index: int


class TimedStatement(NamedTuple):
    """The instant and the index of a statement, which sort by the instant first."""

    at: datetime
    statement_index: int


class ConflictSide(NamedTuple):
    """One of two facts that exclude each other: the subjects that it depends on, and its period."""

    subjects: tuple[Subject, ...]
    since: datetime
    until: datetime | None


class BatchConflict(NamedTuple):
    """Two facts that exclude each other, and the error of the statements that lose."""

    sides: tuple[ConflictSide, ConflictSide]
    error: ResolvableConflict


class WriteResult(NamedTuple):
    """Outcomes of statements by index, the subjects that they change, and the conflicts that they cause.

    With a conflict the outcomes may be incomplete, and what was written has to be rolled back.
    """

    outcomes: Results
    changes: Sequence[SubjectChange] = ()
    conflicts: Sequence[BatchConflict] = ()


def subject_of(kind: Kind, subject_id: int) -> Subject:
    return kind.identities.name, subject_id


async def write_resolving_conflicts(
    connection: WriteConnection,
    statements: Mapping[int, Statement],
    write: Callable[[Mapping[int, Statement]], Awaitable[WriteResult]],
) -> Results:
    """Write a batch without the statements that lose a conflict, and return the outcomes of all.

    Each round leaves out at least one statement more, and the last round has no conflict.
    """
    rejected: Results = {}
    superseded: Results = {}
    while True:
        remaining = {index: it for index, it in statements.items() if index not in rejected and index not in superseded}
        result = await _write_or_roll_back(connection, remaining, write)
        if not result.conflicts:
            return rejected | superseded | result.outcomes
        newly_rejected, newly_superseded = _choose_losers(result)
        if newly_rejected:
            # a statement that was superseded by one of these may be written after all
            rejected, superseded = rejected | newly_rejected, {}
        elif newly_superseded:
            superseded |= newly_superseded
        else:
            # no statement of this batch causes the conflict
            raise TransactionConflict("Another writer changed what these statements depend on. Try again.")


class _Rollback(Conflict):
    """Signal to the savepoint in `_write_or_roll_back`, which it does not leave."""


async def _write_or_roll_back(
    connection: WriteConnection,
    statements: Mapping[int, Statement],
    write: Callable[[Mapping[int, Statement]], Awaitable[WriteResult]],
) -> WriteResult:
    """Run a writer in a savepoint, and roll that back if the writer finds conflicts."""
    with suppress(_Rollback):
        async with connection.savepoint():
            result = await write(statements)
            if result.conflicts:
                raise _Rollback("The batch has conflicts.")
    return result


def _choose_losers(result: WriteResult) -> tuple[Results, Results]:
    """Choose the statements that lose each conflict: those to reject, and those that are superseded.

    A statement is rejected if it conflicts with a fact that no statement of the batch causes, or with itself. If statements of
    the batch exclude each other, the later ones are superseded, as if each had been written at its instant.
    """
    statements: dict[Subject, list[TimedStatement]] = defaultdict(list)
    for change in result.changes:
        statements[change.subject].append(TimedStatement(change.at, change.statement_index))
    rejected: Results = {}
    superseded: Results = {}
    for conflict in result.conflicts:
        causes = [responsible for side in conflict.sides if (responsible := _responsible(side, statements))]
        if len(causes) == 1 or len(set().union(*causes)) == 1:
            rejected |= {it.statement_index: conflict.error for it in causes[0]}
        elif causes:
            superseded |= {it.statement_index: conflict.error for it in max(_distinguishing(causes), key=min)}
    return rejected, superseded


def _distinguishing(causes: Sequence[list[TimedStatement]]) -> list[list[TimedStatement]]:
    """Leave out the statements that cause every side. If no others are left, return these as the only cause."""
    common = set.intersection(*map(set, causes))
    distinct = [rest for responsible in causes if (rest := [it for it in responsible if it not in common])]
    return distinct or [sorted(common)]


def _responsible(side: ConflictSide, statements: Mapping[Subject, Sequence[TimedStatement]]) -> list[TimedStatement]:
    """List the statements that cause a side: those within its period, else the last one before it."""
    candidates = sorted(
        it for subject in side.subjects for it in statements.get(subject, ()) if side.until is None or it.at < side.until
    )
    return [it for it in candidates if it.at >= side.since] or candidates[-1:]

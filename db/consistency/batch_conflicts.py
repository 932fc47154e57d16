"""Conflicts between the entries of a batch, and between these and stored facts.

A writer returns the conflicts that it finds. `write_resolving_conflicts` alone decides which entries lose: it rolls back what the
writer wrote, and has it write the other entries again.
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

Entry = TypeVar("Entry")

# Outcomes of entries by their indexes in the batch.
Results: TypeAlias = dict[int, Outcome | HeadwaterError]
# A subject of any kind: the name of its identity table, and its id in it.
Subject: TypeAlias = tuple[str, int]


class SubjectChange(NamedTuple):
    """A subject that an entry changes: from which instant on, and the index of the entry in the batch."""

    subject: Subject
    at: datetime
    entry_index: int


class TimedEntry(NamedTuple):
    """The instant and the index of an entry. Entries sort by their instants; at one instant, in the order of the batch."""

    at: datetime
    entry_index: int


class ConflictSide(NamedTuple):
    """One of two facts that exclude each other: the subjects that it depends on, and its period."""

    subjects: tuple[Subject, ...]
    since: datetime
    until: datetime | None


class BatchConflict(NamedTuple):
    """Two facts that exclude each other, and the error of the entries that lose."""

    sides: tuple[ConflictSide, ConflictSide]
    error: ResolvableConflict


class WriteResult(NamedTuple):
    """Outcomes of entries by index, the subjects that they change, and the conflicts that they cause.

    With a conflict the outcomes may be incomplete, and what was written has to be rolled back.
    """

    outcomes: Results
    changes: Sequence[SubjectChange] = ()
    conflicts: Sequence[BatchConflict] = ()


def subject_of(kind: Kind, subject_id: int) -> Subject:
    return kind.identities.name, subject_id


async def write_resolving_conflicts(
    connection: WriteConnection,
    entries: Mapping[int, Entry],
    write: Callable[[Mapping[int, Entry]], Awaitable[WriteResult]],
) -> Results:
    """Write a batch without the entries that lose a conflict, and return the outcomes of all. The losers have errors.

    Each round rejects or supersedes at least one more entry. A rejection lets superseded ones compete again. Rejections are
    final, so there is a last round, which has no conflict.
    """
    rejected: Results = {}
    superseded: Results = {}
    while True:
        remaining = {index: entry for index, entry in entries.items() if index not in rejected and index not in superseded}
        result = await _write_or_roll_back(connection, remaining, write)
        if not result.conflicts:
            return rejected | superseded | result.outcomes
        newly_rejected, newly_superseded = _choose_losers(result)
        if newly_rejected:
            # an entry that was superseded by one of these may be written after all
            rejected, superseded = rejected | newly_rejected, {}
        elif newly_superseded:
            superseded |= newly_superseded
        else:
            # no entry of this batch causes the conflict
            raise TransactionConflict("Another writer changed what this request depends on. Try again.")


class _Rollback(Conflict):
    """Signal to the savepoint in `_write_or_roll_back`, which it does not leave.

    It is a Conflict because `savepoint()` rolls back on a Conflict; any other error ends the transaction.
    """


async def _write_or_roll_back(
    connection: WriteConnection,
    entries: Mapping[int, Entry],
    write: Callable[[Mapping[int, Entry]], Awaitable[WriteResult]],
) -> WriteResult:
    """Run a writer in a savepoint, and roll that back if the writer finds conflicts."""
    with suppress(_Rollback):
        async with connection.savepoint():
            result = await write(entries)
            if result.conflicts:
                raise _Rollback("The batch has conflicts.")
    return result


def _choose_losers(result: WriteResult) -> tuple[Results, Results]:
    """Choose the entries that lose each conflict: those to reject, and those that are superseded. Both get the same error.

    An entry is rejected if it conflicts with a fact that no entry of the batch causes, or with itself. If entries of the batch
    exclude each other, the one with the later `at` is superseded, as if each had been written at its instant; at an equal `at`,
    the later one in the batch.
    """
    entries: dict[Subject, list[TimedEntry]] = defaultdict(list)
    for change in result.changes:
        entries[change.subject].append(TimedEntry(change.at, change.entry_index))
    rejected: Results = {}
    superseded: Results = {}
    for conflict in result.conflicts:
        causes = [responsible for side in conflict.sides if (responsible := _responsible(side, entries))]
        if len(causes) == 1 or len(set().union(*causes)) == 1:
            rejected |= {entry.entry_index: conflict.error for entry in causes[0]}
        elif causes:
            loser = _side_that_begins_last(_distinguishing(causes))
            superseded |= {entry.entry_index: conflict.error for entry in loser}
    return rejected, superseded


def _side_that_begins_last(causes: Sequence[list[TimedEntry]]) -> list[TimedEntry]:
    """Return the entries of the side whose first entry is the latest."""
    return max(causes, key=min)


def _distinguishing(causes: Sequence[list[TimedEntry]]) -> list[list[TimedEntry]]:
    """Leave out the entries that cause every side. If no others are left, return these as the only cause."""
    common = set.intersection(*map(set, causes))
    distinct = [rest for responsible in causes if (rest := [entry for entry in responsible if entry not in common])]
    return distinct or [sorted(common)]


def _responsible(side: ConflictSide, entries: Mapping[Subject, Sequence[TimedEntry]]) -> list[TimedEntry]:
    """List the entries that cause a side: those within its period, else the last one before it."""
    candidates = sorted(
        entry for subject in side.subjects for entry in entries.get(subject, ()) if side.until is None or entry.at < side.until
    )
    return [entry for entry in candidates if entry.at >= side.since] or candidates[-1:]

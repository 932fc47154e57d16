"""Conflicts between the entries of a batch, and between these and stored facts.

A writer returns the conflicts that it finds. `write_resolving_conflicts` alone decides which entries lose: it rolls back what the
writer wrote, and has it write the other entries again.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from operator import itemgetter
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
    """A subject that an entry states: from which instant on, the index of the entry in the batch, and if its state changed."""

    subject: Subject
    at: datetime
    entry_index: int
    changed: bool


class TimedEntry(NamedTuple):
    """The instant and the index of an entry. Entries sort by their instants; at one instant, in the order of the batch."""

    at: datetime
    entry_index: int


class BatchConflict(NamedTuple):
    """Two facts that exclude each other in a period, all subjects they depend on, and the error of the entries that lose.

    There would be no conflict if any one of the subjects did not exist in the period. Of two that are stated by one entry, the
    first in this order loses.
    """

    subjects: tuple[Subject, ...]
    since: datetime
    until: datetime | None
    error: ResolvableConflict


class WriteResult(NamedTuple):
    """Outcomes of entries by index, the subjects that they state, and the conflicts that they cause.

    With a conflict the outcomes may be incomplete, and what was written has to be rolled back.
    """

    outcomes: Results
    changes: Sequence[SubjectChange] = ()
    conflicts: Sequence[BatchConflict] = ()


def subject_of(kind: Kind, subject_id: int) -> Subject:
    return kind.identities.name, subject_id


def subject_change(kind: Kind, outcome: Outcome, entry_index: int) -> SubjectChange:
    """Build the change of an accepted entry. A repetition of an earlier change changes nothing."""
    return SubjectChange(
        subject_of(kind, outcome.subject_id), outcome.at, entry_index, changed=outcome.changed and not outcome.replayed
    )


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

    An entry is rejected if it is a cause of the conflict by every subject that has causes in the batch: it conflicts with facts
    that no entry causes, or with itself. If entries of the batch exclude each other, those of the subject that is stated last are
    superseded, as if each had been written at its instant; at an equal `at`, the later one in the batch.

    The earliest entry that is left is never superseded. So a batch of which nothing is written has only rejected entries.
    """
    changes: dict[Subject, _SubjectChanges] = defaultdict(_SubjectChanges)
    for change in sorted(result.changes, key=lambda it: (it.at, it.entry_index)):
        changes[change.subject].append(change)
    rejected: Results = {}
    superseded: Results = {}
    for conflict in result.conflicts:
        causes = [found for it in conflict.subjects if it in changes and (found := changes[it].causes(conflict))]
        if not causes:
            continue
        if common := _common(causes):
            rejected |= {entry.entry_index: conflict.error for entry in common}
        else:
            superseded |= {entry.entry_index: conflict.error for entry in max(causes, key=itemgetter(0))}
    return rejected, superseded


class _SubjectChanges:
    """The entries that state one subject, in their order. Its searches are binary: many conflicts may share a subject."""

    def __init__(self) -> None:
        self._entries: list[TimedEntry] = []
        # indexes in `_entries` of those that changed the subject
        self._changing: list[int] = []

    def append(self, change: SubjectChange) -> None:
        if change.changed:
            self._changing.append(len(self._entries))
        self._entries.append(TimedEntry(change.at, change.entry_index))

    def causes(self, conflict: BatchConflict) -> list[TimedEntry]:
        """Return the entries by each of which the subject takes part in a conflict, in their order.

        These are the last entry that changed the subject before the conflict or as it begins, and those that state the subject
        again before it ends. If no entry changed the subject until then, it takes part by what is stored.
        """
        changed = bisect_right(self._changing, conflict.since, key=lambda index: self._entries[index].at)
        if not changed:
            return []
        end = None if conflict.until is None else bisect_left(self._entries, conflict.until, key=lambda it: it.at)
        return self._entries[self._changing[changed - 1] : end]


def _common(causes: Sequence[list[TimedEntry]]) -> list[TimedEntry]:
    """Return the entries that are in all of several ordered lists."""
    return [entry for entry in min(causes, key=len) if all(_contains(it, entry) for it in causes)]


def _contains(entries: list[TimedEntry], entry: TimedEntry) -> bool:
    index = bisect_left(entries, entry)
    return index < len(entries) and entries[index] == entry

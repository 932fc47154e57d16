"""Quarrels: what was written cannot be together with something else. Who gives way, and how the rest of a batch gets written."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, TypeAlias, TypeVar

from db.connection import WriteConnection
from db.errors import HeadwaterError, ResolvableConflict, TransactionConflict
from db.temporal.change_log import Outcome
from db.temporal.kind import Kind

Statement = TypeVar("Statement")

# What became of statements, by their places in the batch.
Results: TypeAlias = dict[int, Outcome | HeadwaterError]
# A subject among all there are: the table of its identity, and its id there.
Subject: TypeAlias = tuple[str, int]
# What was said of subjects: the instant and the place of each statement.
ChangesOfSubject: TypeAlias = dict[Subject, list[tuple[datetime, int]]]


class ConflictSide(NamedTuple):
    """One of those that cannot be together: the subjects it hangs on, and for how long it would hold."""

    subjects: tuple[Subject, ...]
    since: datetime
    until: datetime | None


class BatchConflict(NamedTuple):
    """What cannot be together, and why. Of one side: it cannot be at all."""

    sides: tuple[ConflictSide, ...]
    reason: ResolvableConflict


class BatchConflictError(ResolvableConflict):
    """What was written has to be undone, at least in part."""

    def __init__(self, quarrels: Sequence[BatchConflict]) -> None:
        first = quarrels[0].reason
        super().__init__(first.message, field=first.field)
        self.quarrels = quarrels


def subject_of(kind: Kind, subject_id: int) -> Subject:
    return kind.identities.name, subject_id


async def write_resolving_conflicts(
    connection: WriteConnection,
    statements: Mapping[int, Statement],
    write: Callable[[Mapping[int, Statement], ChangesOfSubject], Awaitable[Results]],
) -> Results:
    """Write a batch, of which whatever is in a quarrel is left out: then the rest is written once more. The writer notes what it
    says of whom."""
    refused: Results = {}
    outdone: Results = {}
    while True:
        heard = {place: it for place, it in statements.items() if place not in refused and place not in outdone}
        said: ChangesOfSubject = {}
        try:
            async with connection.savepoint():
                return refused | outdone | await write(heard, said)
        except BatchConflictError as quarrels:
            against_others, later = _choose_losers(quarrels.quarrels, said)
            if against_others:
                # what was outdone by one of these has another chance
                refused, outdone = refused | against_others, {}
            elif later:
                outdone |= later
            else:
                # nobody here is at fault
                raise TransactionConflict("Another writer changed what this rests on meanwhile. Try again.") from None


def _choose_losers(quarrels: Sequence[BatchConflict], said: ChangesOfSubject) -> tuple[Results, Results]:
    """Which statements give way: those against what nobody here has a say in, or against themselves; and of several that want
    what only one can have, those that want it later, as if each were heard at its instant."""
    against_others: Results = {}
    later: Results = {}
    for quarrel in quarrels:
        wanting = [wanted for side in quarrel.sides if (wanted := _responsible(side, said))]
        if len(wanting) == 1 or len(set().union(*wanting)) == 1:
            against_others |= {place: quarrel.reason for _, place in wanting[0]}
        elif wanting:
            later |= {place: quarrel.reason for _, place in max(_distinguishing(wanting), key=min)}
    return against_others, later


def _distinguishing(wanting: Sequence[list[tuple[datetime, int]]]) -> list[list[tuple[datetime, int]]]:
    """What tells the sides apart: by what all of them want they do not quarrel, unless they want nothing else."""
    common = set.intersection(*map(set, wanting))
    own = [rest for wanted in wanting if (rest := [it for it in wanted if it not in common])]
    return own or [sorted(common)]


def _responsible(side: ConflictSide, said: ChangesOfSubject) -> list[tuple[datetime, int]]:
    """The statements by which a side is there: those of its time, else the last from before."""
    about = sorted(it for subject in side.subjects for it in said.get(subject, ()) if side.until is None or it[0] < side.until)
    return [it for it in about if it[0] >= side.since] or about[-1:]

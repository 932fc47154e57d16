"""Mechanisms that the registries of entity types, detail types and relationship types share."""

from bisect import bisect
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from db.connection import WriteConnection
from db.errors import HeadwaterError, NotFound, UnknownType
from db.fields import excerpt
from db.sql import Statement
from db.temporal.change_log import raise_first_error

# An error message names this many of the known names.
_NAMED = 20

# Known names are compared with an unknown one if they are near in order, this many on either side.
_COMPARED = 500
_COMPARED_LETTERS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryRecord:
    """The instants at which an entry of a registry was registered and last changed, and the actor who changed it. None: this was
    not recorded yet."""

    created_at: datetime | None = field(default=None, compare=False)
    updated_at: datetime | None = field(default=None, compare=False)
    actor: str | None = field(default=None, compare=False)


Entry = TypeVar("Entry", bound=RegistryRecord)


class PutOutcome(NamedTuple):
    """Outcome of putting an entry: true if it is new, true if it differs from the entry that was registered before, and the
    record of the entry that is registered now."""

    created: bool
    changed: bool
    record: RegistryRecord = RegistryRecord()


async def put_one(
    connection: WriteConnection,
    entry: Entry,
    put_each: Callable[[WriteConnection, Sequence[Entry]], Awaitable[Sequence[PutOutcome | HeadwaterError]]],
) -> Entry:
    """Put a single entry, and return it as it is registered now."""
    (outcome,) = raise_first_error(await put_each(connection, [entry]))
    return replace(entry, **record_of(outcome.record))


def record_of(source: Any) -> dict[str, Any]:
    """Return the fields of a `RegistryRecord` from another record or from a row."""
    return {"created_at": source.created_at, "updated_at": source.updated_at, "actor": source.actor}


async def lock_type(connection: WriteConnection, statement: Statement, code: str, *, label: str) -> NotFound | None:
    """Lock a type until the transaction ends. Return an error if no type has the code.

    The lock waits for writers that have named the type, and writers that are about to name it wait for the lock. So a count of
    its uses is exact afterwards.
    """
    if await connection.fetch_one(statement, {"code": code}) is None:
        return NotFound(f"There is no {label} {excerpt(code)}.", field="code")
    return None


def unknown_type(message: str, known: Collection[str], *, field: str, like: str | None = None) -> UnknownType:
    """Build the error for a type that does not exist. It names those that exist to callers who may read: in order, or, with
    `like`, those first that are most like this name. The comparison takes long for the many rows of a load."""
    return UnknownType(f"{message} {_known_names(known, like)}", field=field, blind=f"{message} Register it first.")


def _known_names(names: Collection[str], like: str | None) -> str:
    """Build the sentence of an error message that lists the known names."""
    if not names:
        return "None is registered yet."
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    listed = sorted(names) if like is None else _nearest(sorted(names), like)
    return f"There are {', '.join(listed[:_NAMED])}{more}."


def _nearest(names: Sequence[str], like: str) -> list[str]:
    """Order names by the pairs of letters that they share with a text, the most first."""
    position = bisect(names, like)
    compared = names[max(position - _COMPARED, 0) : position + _COMPARED]
    wanted = _letter_pairs(like)

    def distance(name: str) -> float:
        pairs = _letter_pairs(name)
        return -len(pairs & wanted) / len(pairs | wanted)

    return sorted(compared, key=distance)


def _letter_pairs(text: str) -> set[str]:
    padded = f" {text[:_COMPARED_LETTERS].casefold()} "
    return {padded[index : index + 2] for index in range(len(padded) - 1)}


def entities_have(entities: int) -> str:
    """Build the start of an error message about the entities that use a type."""
    return "1 entity has" if entities == 1 else f"{entities} entities have"

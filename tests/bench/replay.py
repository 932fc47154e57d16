"""Recorded statements, told to a bare asyncpg connection again."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

# Stands wherever a value has to be new in every request. Each request puts text of the same length in its place, in what is
# sent to the service and in the parameters of the floor's statements.
FRESH = "~a-new-value-each~"

Value = Callable[[str], Any]

# How what JSON has no word for is written, and read again.
_WORDS: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "instant": (datetime, datetime.isoformat, datetime.fromisoformat),
    "uuid": (UUID, str, UUID),
    "interval": (timedelta, timedelta.total_seconds, lambda seconds: timedelta(seconds=seconds)),
    "decimal": (Decimal, str, Decimal),
}


class Connection(Protocol):
    """As much of an asyncpg connection, pooled or not, as it takes."""

    async def execute(self, query: str) -> str: ...

    async def fetch(self, query: str, *args: Any) -> list[Any]: ...


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement with its parameters. Without any (which is not the same as with none) it goes as a plain query."""

    sql: str
    parameters: tuple[Any, ...] | None
    moving: tuple[Value, ...] | None

    @classmethod
    def read(cls, sql: str, written: list[Any] | None) -> "Statement":
        if written is None:
            return cls(sql, None, None)
        values = [_read(it) for it in written]
        if any(callable(it) for it in values):
            return cls(sql, (), tuple(_moving(it) for it in values))
        return cls(sql, tuple(values), None)

    async def run(self, connection: Connection, fresh: str) -> list[Any]:
        if self.parameters is None:
            await connection.execute(self.sql)
            return []
        if self.moving is None:
            return await connection.fetch(self.sql, *self.parameters)
        return await connection.fetch(self.sql, *[value(fresh) for value in self.moving])


Script = tuple[Statement, ...]


def read_script(written: list[tuple[str, list[Any] | None]]) -> Script:
    return tuple(Statement.read(sql, parameters) for sql, parameters in written)


async def replay(script: Script, connection: Connection, fresh: str) -> None:
    """Issue the statements of one sample, as the service did."""
    for statement in script:
        await statement.run(connection, fresh)


def write(value: Any, since: datetime, until: datetime) -> Any:
    """A parameter as JSON. An instant of the recording itself was "now", and will be now again."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case list() | tuple():
            return [write(it, since, until) for it in value]
        case datetime() if value.tzinfo and since <= value <= until:
            return {"now": True}
    for word, (kind, write_value, _) in _WORDS.items():
        if isinstance(value, kind):
            return {word: write_value(value)}
    raise TypeError(f"A parameter of type {type(value).__name__} cannot be recorded yet: add it to tests/bench/replay.py.")


def _read(written: Any) -> Any:
    """The parameter; where it is another in every request, what makes it."""
    match written:
        case {"now": True}:
            return lambda _: datetime.now(UTC)
        case str() if FRESH in written:
            return lambda fresh: written.replace(FRESH, fresh)
        case list():
            values = [_read(it) for it in written]
            if any(callable(it) for it in values):
                moving = [_moving(it) for it in values]
                return lambda fresh: [value(fresh) for value in moving]
            return values
        case dict():
            ((word, value),) = written.items()
            return _WORDS[word][2](value)
    return written


def _moving(value: Any) -> Value:
    return value if callable(value) else lambda _: value

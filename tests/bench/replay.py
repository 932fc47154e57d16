"""Recorded statements, and their replay on a plain asyncpg connection."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

# Placeholder of a value that is new in every request. Each request replaces it by text of the same length, both in what is sent
# to the service and in the parameters of the baseline server's statements.
FRESH = "~a-new-value-each~"

Value = Callable[[str], Any]

# How values that JSON cannot express are written and read.
_ENCODINGS: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "instant": (datetime, datetime.isoformat, datetime.fromisoformat),
    "uuid": (UUID, str, UUID),
    "interval": (timedelta, timedelta.total_seconds, lambda seconds: timedelta(seconds=seconds)),
    "decimal": (Decimal, str, Decimal),
}


class Connection(Protocol):
    """The part of an asyncpg connection, pooled or not, that a replay uses."""

    async def execute(self, query: str) -> str: ...

    async def fetch(self, query: str, *args: Any) -> list[Any]: ...


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement with its parameters.

    `parameters` is None if it is sent as a simple query, which differs from a statement with no parameters. `computed` is set
    if some of the parameters are new in every request.
    """

    sql: str
    parameters: tuple[Any, ...] | None
    computed: tuple[Value, ...] | None

    @classmethod
    def read(cls, sql: str, encoded: list[Any] | None) -> "Statement":
        if encoded is None:
            return cls(sql, None, None)
        values = [_decode(it) for it in encoded]
        if any(callable(it) for it in values):
            return cls(sql, (), tuple(_as_function(it) for it in values))
        return cls(sql, tuple(values), None)

    async def run(self, connection: Connection, fresh: str) -> list[Any]:
        if self.parameters is None:
            await connection.execute(self.sql)
            return []
        if self.computed is None:
            return await connection.fetch(self.sql, *self.parameters)
        return await connection.fetch(self.sql, *[value(fresh) for value in self.computed])


Script = tuple[Statement, ...]


def read_script(encoded: list[tuple[str, list[Any] | None]]) -> Script:
    return tuple(Statement.read(sql, parameters) for sql, parameters in encoded)


async def replay(script: Script, connection: Connection, fresh: str) -> None:
    """Run the statements of one sample as the service did."""
    for statement in script:
        await statement.run(connection, fresh)


def encode(value: Any, since: datetime, until: datetime) -> Any:
    """Encode a parameter as JSON. An instant within the recording was the current time, and is again in a replay."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case list() | tuple():
            return [encode(it, since, until) for it in value]
        case datetime() if value.tzinfo and since <= value <= until:
            return {"now": True}
    for name, (type_, encode_value, _) in _ENCODINGS.items():
        if isinstance(value, type_):
            return {name: encode_value(value)}
    raise TypeError(f"A parameter of type {type(value).__name__} cannot be recorded. Add the type to tests/bench/replay.py.")


def _decode(encoded: Any) -> Any:
    """Decode a parameter. Return a function if it is new in every request."""
    match encoded:
        case {"now": True}:
            return lambda _: datetime.now(UTC)
        case str() if FRESH in encoded:
            return lambda fresh: encoded.replace(FRESH, fresh)
        case list():
            values = [_decode(it) for it in encoded]
            if any(callable(it) for it in values):
                functions = [_as_function(it) for it in values]
                return lambda fresh: [value(fresh) for value in functions]
            return values
        case dict():
            ((name, value),) = encoded.items()
            return _ENCODINGS[name][2](value)
    return encoded


def _as_function(value: Any) -> Value:
    return value if callable(value) else lambda _: value

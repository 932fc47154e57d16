"""What parsers make of a file, whatever its format: rows, each of which says something, and faults."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple, Protocol, TypeAlias

from db.assets.asset import IdentitySpec
from db.bulk.ingest import RegistryEntry, Statement
from db.errors import BadInput, HeadwaterError


class EntityState(NamedTuple):
    """The whole state of an entity from an instant on, before it is held to the registries."""

    ref: IdentitySpec
    display_name: str
    details: dict[str, str]
    at: datetime | None = None


ParsedStatement: TypeAlias = EntityState | Statement | RegistryEntry


class RowError(NamedTuple):
    """Why a row was refused. The line is that on which the row begins."""

    line: int
    field: str | None
    message: str
    code: str = BadInput.code


class Row(NamedTuple):
    """What a row says. Without an instant, it holds from the beginning of the load. It may have been refused before."""

    line: int
    said: ParsedStatement
    refused: RowError | None = None


class Parser(Protocol):
    """A file as a stream of rows and faults, in its order."""

    # what the format calls a part of a row
    part: str
    # the refusals that what follows in the file may resolve
    resolvable: tuple[type[HeadwaterError], ...]

    @property
    def position(self) -> int:
        """How many bytes of the file have been read."""

    def __iter__(self) -> Iterator[Row | RowError]: ...

    def row_error(self, line: int, error: HeadwaterError) -> RowError:
        """Why the row on a line was refused, in the words of the file."""


def fault_of(line: int, field: str | None, message: str, code: str = BadInput.code) -> RowError:
    """A fault whose message quotes what may be long."""
    return RowError(line, None if field is None else field[:100], brief(message), code)


def brief(message: str) -> str:
    return message if len(message) <= 400 else f"{message[:200]} … {message[-150:]}"

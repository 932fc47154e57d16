"""Rows of a file to load: statements and errors, whatever the format of the file."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple, Protocol, TypeAlias

from db.assets.asset import IdentitySpec
from db.bulk.ingest import BatchEntry, RegistryEntry
from db.errors import BadInput, HeadwaterError

# Longest message and longest field name of an error that quotes the file, in characters.
_MESSAGE_LENGTH = 400
_FIELD_LENGTH = 100


class EntityState(NamedTuple):
    """The whole state of an entity from an instant on, not yet validated against the registries."""

    ref: IdentitySpec
    display_name: str
    details: dict[str, str]
    at: datetime | None = None
    # all keys, the primary one first; None leaves them as they are
    keys: list[str] | None = None


ParsedStatement: TypeAlias = EntityState | BatchEntry | RegistryEntry


class RowError(NamedTuple):
    """The reason why a row was rejected. `line` is the line on which the row begins."""

    line: int
    field: str | None
    message: str
    code: str = BadInput.code

    @classmethod
    def quoting(cls, line: int, field: str | None, message: str, code: str = BadInput.code) -> "RowError":
        """Return an error whose field and message quote the file, shortened if they are long."""
        return cls(line, None if field is None else field[:_FIELD_LENGTH], shorten(message), code)


class Row(NamedTuple):
    """The statement of a row. Without an instant, it holds from the beginning of the load.

    `error` is the reason why the row was deferred, if it was.
    """

    line: int
    statement: ParsedStatement
    error: RowError | None = None


class Parser(Protocol):
    """A file as a stream of rows and errors, in the order of the file."""

    # name of a part of a row in this format: column or field
    part: str
    # errors of a row that later rows may resolve
    resolvable: tuple[type[HeadwaterError], ...]

    @property
    def bytes_read(self) -> int:
        """Number of bytes of the file that were read."""

    def __iter__(self) -> Iterator[Row | RowError]: ...

    def row_error(self, line: int, error: HeadwaterError) -> RowError:
        """Return the error of the row on a line, in terms of the file."""


def shorten(message: str) -> str:
    """Leave out the middle of a long message."""
    return message if len(message) <= _MESSAGE_LENGTH else f"{message[:200]} … {message[-150:]}"

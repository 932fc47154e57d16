"""JSON lines: bytes in, rows or errors out, in memory that does not grow with the file."""

from collections.abc import Iterator
from typing import BinaryIO

import orjson

from db.errors import Ambiguous, BadInput, HeadwaterError, NotFound, ResolvableConflict, UnknownType
from graph_api.ingestion.jsonl_kinds import KINDS
from graph_api.ingestion.row import ParsedStatement, Row, RowError

# Longest line, in bytes.
LINE_LENGTH = 1024 * 1024

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class JsonLines:
    """A file as a stream of rows and errors, in the order of the file."""

    part = "field"
    # Later lines may add the missing asset or type, and may remove what is in the way or makes a reference ambiguous.
    resolvable: tuple[type[HeadwaterError], ...] = (NotFound, ResolvableConflict, UnknownType, Ambiguous)

    def __init__(self, file: BinaryIO) -> None:
        self.bytes_read = 0
        self._file = file

    def __iter__(self) -> Iterator[Row | RowError]:
        number = 0
        while line := self._readline():
            number += 1
            if number == 1:
                line = line.removeprefix(_BYTE_ORDER_MARK)
            if len(line) > LINE_LENGTH:
                self._skip_rest_of(line)
                yield RowError(number, None, f"The line is longer than {LINE_LENGTH} bytes.")
            elif not line.isspace():
                yield self._parse(number, line)

    def row_error(self, line: int, error: HeadwaterError) -> RowError:
        """Return the error of the line."""
        return RowError.quoting(line, error.field, error.message, error.code)

    def _parse(self, number: int, line: bytes) -> Row | RowError:
        try:
            return Row(number, _parse(line))
        except BadInput as error:
            return self.row_error(number, error)

    def _readline(self) -> bytes:
        line = self._file.readline(LINE_LENGTH + 1)
        self.bytes_read += len(line)
        return line

    def _skip_rest_of(self, line: bytes) -> None:
        while line and not line.endswith(b"\n"):
            line = self._readline()


def _parse(line: bytes) -> ParsedStatement:
    """Return the statement of a line, validated as far as that needs no registry."""
    try:
        content = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"The line is not JSON: {error.msg}, at character {error.pos + 1}.") from error
    if not isinstance(content, dict):
        raise BadInput('The line is not a JSON object, such as {"kind": "delete", "uid": "…"}. Write one object on each line.')
    name = content.pop("kind", None)
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise BadInput(f"kind is {name!r}. Give one of {', '.join(KINDS)}.", field="kind")
    return kind.parse(kind.fields.check(content))

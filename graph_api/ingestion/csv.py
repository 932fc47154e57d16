"""CSV files of anything: bytes in, rows or faults out, in memory that does not grow with the file.

RFC 4180, in UTF-8. The header names columns, in any order. Which there are, and what a row of them says, each kind of file tells.
"""

import csv
import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, BinaryIO
from uuid import UUID

import orjson

from db.errors import BadInput, HeadwaterError
from db.instants import read_instant
from graph_api.ingestion.row import ParsedStatement, Row, RowError, brief, fault_of

# What a row may take, in bytes. The csv module gives each of its cells 131 072 characters.
ROW_LENGTH = 1024 * 1024

# What the reason says of a cell that has to be filled.
EMPTY = "The cell is empty."

_OTHER_FORMATS = {
    b"\x1f\x8b": "a gzip archive. Unpack it on the way: gunzip --stdout FILE | {command}",
    b"PK\x03\x04": "a zip archive or a workbook. Save the sheet as CSV in UTF-8.",
    b"\xff\xfe": "text in UTF-16. Save it in UTF-8.",
    b"\xfe\xff": "text in UTF-16. Save it in UTF-8.",
    b"\x89PNG": "an image.",
    b"%PDF": "a PDF document.",
    b"PAR1": "a Parquet file.",
    b"{": "JSON.",
    b"[": "JSON.",
}

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_NO_CHARACTER = re.compile("[\0\udc80-\udcff]")
_CELL_AND_COMMA = re.compile(r'(?:"(?:[^"]++|"")*+"|(?!")[^,\r\n]*+),')

_REASONS = {
    "field larger": "The cell is longer than {limit} characters. Perhaps a quote is opened and not closed.",
    "unexpected end": "A quote is opened, and the file ends before it is closed.",
    "new-line": "A carriage return stands alone. Lines end in LF or CRLF; within a cell it has to be quoted.",
    "": "Something follows the closing quote of a cell. One that holds commas or quotes is quoted whole, each quote in it twice.",
}


class CsvFile(ABC):
    """A file as a stream of rows and faults, in its order. What is no CSV of its kind at all is refused at once."""

    part = "column"
    resolvable: tuple[type[HeadwaterError], ...]
    # every column that there may be, and the field that it is elsewhere
    fields: Mapping[str, str]
    # of each of these, the header names one at least
    required: Sequence[Sequence[str]]
    # what to say to a header that is none
    expected: str
    # what loads such a file from standard input
    command: str

    def __init__(self, file: BinaryIO) -> None:
        self._lines = _Lines(file)
        self.columns = self._header()
        # what the header does not name is read from an empty cell behind the last
        self._pick = itemgetter(*(self.columns.index(name) if name in self.columns else -1 for name in self.fields))
        self._reread_until = 0

    @abstractmethod
    def said(self, cells: tuple[str, ...]) -> ParsedStatement:
        """What a row says, by its cells in the order of `fields`; those of absent columns are empty. A refusal names a column."""

    @property
    def position(self) -> int:
        return self._lines.position

    def row_error(self, line: int, error: HeadwaterError) -> RowError:
        """Why a row was refused, in the words of the file."""
        candidates = [column for column, field in self.fields.items() if field == error.field]
        if not candidates:
            return fault_of(line, None, error.message, error.code)
        column = next((it for it in candidates if it in self.columns), None)
        message = re.sub(rf"^{error.field}\b", column or candidates[0], error.message)
        return fault_of(line, column, message, error.code)

    def __iter__(self) -> Iterator[Row | RowError]:
        lines, pick, said, width = self._lines, self._pick, self.said, len(self.columns)
        reader = csv.reader(iter(lines), strict=True)
        while True:
            lines.begin_row()
            try:
                cells = next(reader, None)
            except (csv.Error, _RowTooLong) as error:
                yield self._malformed(error)
                reader = csv.reader(iter(lines), strict=True)
                continue
            if cells is None:
                return
            if len(cells) != width:
                if fault := self._miscounted(cells):
                    yield fault
            elif lines.suspect and (unfit := _unfit(cells)):
                place, reason = unfit
                yield RowError(lines.first, self.columns[place], reason)
            else:
                cells.append("")
                try:
                    row = Row(lines.first, said(pick(cells)))
                except BadInput as error:
                    yield fault_of(lines.first, error.field, error.message)
                else:
                    yield row

    def _header(self) -> tuple[str, ...]:
        """The columns, once it is sure that the file can be meant."""
        lines = self._lines
        beginning = lines.first_that_says_something()
        place = f"line {lines.number + 1}"
        for magic, meaning in _OTHER_FORMATS.items():
            if beginning.lstrip().startswith(magic):
                raise BadInput(f"{place}: This is no CSV file but {meaning.format(command=self.command)}")
        try:
            beginning.decode()
        except UnicodeDecodeError as error:
            raise BadInput(f"{place}: This is no CSV file in UTF-8: the line holds other bytes.") from error
        if _CONTROL.search(beginning):
            raise BadInput(f"{place}: This is no CSV file: the line holds control characters.")
        try:
            names = next(csv.reader(iter(lines), strict=True), None)
        except (csv.Error, _RowTooLong) as error:
            raise BadInput(f"{place}: The header cannot be read. {self.expected}") from error
        if names is None:
            raise BadInput(f"line 1: The file is empty: there is not even a header. {self.expected}")
        columns = tuple(name.strip() for name in names)
        faults = [f"{' or '.join(choice)} is missing" for choice in self.required if not set(choice) & set(columns)]
        faults += [f"{name} comes twice" for name in self.fields if columns.count(name) > 1]
        faults += [f"{name!r} is unknown" for name in dict.fromkeys(columns) if name not in self.fields]
        if faults:
            separated = " Columns are separated by commas." if len(columns) == 1 and re.search("[;\t|]", columns[0]) else ""
            named = ", ".join(repr(name) for name in columns)
            raise BadInput(brief(f"{place}: In the header {', '.join(faults)}; it names {named}.{separated} {self.expected}"))
        return columns

    def _miscounted(self, cells: Sequence[str]) -> RowError | None:
        """Why a row has not as many cells as the header, unless it is blank."""
        if len(cells) <= 1 and not "".join(cells).strip():
            return None
        lines, missing = self._lines, self.columns[len(cells) :]
        counted = f"The row has {len(cells)} of {len(self.columns)} cells"
        ending = f" It ends on line {lines.number}." if lines.number > lines.first else ""
        if missing:
            return RowError(lines.first, missing[0], f"{counted}; missing: {', '.join(missing)}.{ending}")
        return RowError(lines.first, None, f"{counted}. One that holds a comma has to be quoted.{ending}")

    def _malformed(self, error: Exception) -> RowError:
        """Why a row cannot be read. An open quote takes in the lines that follow: they are read again, once, each by itself."""
        lines, column = self._lines, None
        if isinstance(error, _RowTooLong):
            reason = f"The row is longer than {ROW_LENGTH} bytes. Perhaps a quote is opened and not closed."
        else:
            reason = next(it for beginning, it in _REASONS.items() if beginning in str(error))
            reason = reason.format(limit=csv.field_size_limit())
            column = self._column_at_fault()
        last = lines.number
        if last > lines.first:
            if isinstance(error, csv.Error) and lines.first > self._reread_until:
                self._reread_until = last
                lines.give_rest_of_row_again()
            else:
                reason += f" The lines up to {last} are passed over with it."
        return RowError(lines.first, column, reason)

    def _column_at_fault(self) -> str | None:
        """The column behind the last cell that is well formed."""
        text, end, place = self._lines.row_text(), 0, 0
        while (found := _CELL_AND_COMMA.match(text, end)) and found.end() - end <= csv.field_size_limit():
            end = found.end()
            place += 1
        return self.columns[place] if place < len(self.columns) else None


class _RowTooLong(Exception):
    """A row that no memory should have to hold."""


class _Lines:
    """The lines of a file as text, and those that make up the row that is being read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._again: deque[bytes] = deque()
        self._row: list[bytes] = []
        self.number = 0
        self.first = 0
        # how many bytes were read
        self.position = 0
        # whether the row may hold what is no character
        self.suspect = False

    def begin_row(self) -> None:
        self._row.clear()
        self.first = self.number + 1
        self.suspect = False

    def __iter__(self) -> Iterator[str]:
        readline, again, row = self._file.readline, self._again, self._row
        length = 0
        while line := again.popleft() if again else readline(ROW_LENGTH):
            self.number += 1
            self.position += len(line)
            length = length + len(line) if row else len(line)
            if length >= ROW_LENGTH:
                self._pass_over_rest_of(line)
                raise _RowTooLong
            row.append(line)
            if b"\0" in line:
                self.suspect = True
            try:
                text = line.decode()
            except UnicodeDecodeError:
                self.suspect = True
                text = line.decode(errors="surrogateescape")
            yield text

    def first_that_says_something(self) -> bytes:
        """The first line that is not blank, as it is but for a byte order mark. It is given once more, as text."""
        line = self._file.readline(ROW_LENGTH).removeprefix(_BYTE_ORDER_MARK)
        while line and not line.strip():
            self.number += 1
            self.position += len(line)
            line = self._file.readline(ROW_LENGTH)
        self._again.append(line)
        return line

    def row_text(self) -> str:
        return b"".join(self._row).decode(errors="surrogateescape")

    def give_rest_of_row_again(self) -> None:
        again = self._row[1:]
        self._again.extend(again)
        self.position -= sum(map(len, again))
        self.number = self.first

    def _pass_over_rest_of(self, line: bytes) -> None:
        while len(line) == ROW_LENGTH and not line.endswith(b"\n"):
            line = self._file.readline(ROW_LENGTH)
            self.position += len(line)


def _unfit(cells: Sequence[str]) -> tuple[int, str] | None:
    """The first cell that holds what is no character, and what that is."""
    for place, cell in enumerate(cells):
        if found := _NO_CHARACTER.search(cell):
            if found[0] == "\0":
                return place, "The cell holds a NUL character, which cannot be stored."
            return place, f"The cell holds the byte 0x{ord(found[0]) - 0xDC00:02X}, which is not UTF-8 there."
    return None


def uuid_of(column: str, cell: str) -> UUID:
    """The UUID that a cell holds."""
    try:
        return UUID(cell)
    except ValueError as error:
        raise BadInput(f"{cell!r} is no UUID, such as 2b5a1f0e-7c1d-4f3b-9a55-0d6c2a7be101.", field=column) from error


def json_of(column: str, cell: str) -> Any:
    """What a cell says in JSON."""
    try:
        return orjson.loads(cell)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"The cell is no JSON: {error.msg}, at character {error.pos + 1}.", field=column) from error


def instant_of(column: str, cell: str) -> datetime | None:
    """The instant that a cell holds, if any."""
    try:
        return read_instant(cell) if cell else None
    except BadInput as error:
        raise BadInput(error.message, field=column) from error

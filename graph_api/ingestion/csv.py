"""CSV files: bytes in, rows or errors out, in memory that does not grow with the file.

RFC 4180, in UTF-8. The header names the columns, in any order. A subclass for each kind of file defines which columns there are,
and what a row states.
"""

import csv
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import BinaryIO

from db.errors import BadInput, HeadwaterError
from graph_api.ingestion.csv_cells import first_invalid
from graph_api.ingestion.csv_lines import ROW_LENGTH, CsvLines, RowTooLong
from graph_api.ingestion.row import ParsedStatement, Row, RowError, shorten

# First bytes of other formats, and what to do about them.
_OTHER_FORMATS = {
    b"\x1f\x8b": "a gzip archive. Unpack it first: gunzip --stdout FILE | {command}",
    b"PK\x03\x04": "a zip archive or a workbook. Save the sheet as CSV in UTF-8.",
    b"\xff\xfe": "text in UTF-16. Save it in UTF-8.",
    b"\xfe\xff": "text in UTF-16. Save it in UTF-8.",
    b"\x89PNG": "an image.",
    b"%PDF": "a PDF document.",
    b"PAR1": "a Parquet file.",
    b"{": "JSON.",
    b"[": "JSON.",
}

_CONTROL_CHARACTER = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_CELL_AND_COMMA = re.compile(r'(?:"(?:[^"]++|"")*+"|(?!")[^,\r\n]*+),')
_OTHER_SEPARATOR = re.compile("[;\t|]")

# Beginnings of messages of the csv module, and the messages of Headwater.
_MALFORMED = {
    "field larger": "The cell is longer than {limit} characters. Check for a quote that is not closed.",
    "unexpected end": "A quote is not closed before the end of the file.",
    "new-line": "A carriage return stands alone. End lines in LF or CRLF, and quote a cell that holds one.",
    "": "Text follows the closing quote of a cell. Quote a cell with commas or quotes as a whole, and double each quote in it.",
}


class CsvFile(ABC):
    """A file as a stream of rows and errors, in the order of the file. Raises BadInput for a file of another format."""

    part = "column"
    resolvable: tuple[type[HeadwaterError], ...]
    # all columns, with the field of the input that each stands for
    fields: Mapping[str, str]
    # alternatives, of each of which the header names at least one
    required: Sequence[Sequence[str]]
    # the columns in words, for a header that does not fit
    expected: str
    # command that loads such a file from standard input
    command: str

    def __init__(self, file: BinaryIO) -> None:
        self._lines = CsvLines(file)
        self.columns = self._read_header()
        # An empty cell is appended to each row; columns that the header does not name are read from it.
        self._pick = itemgetter(*(self.columns.index(name) if name in self.columns else -1 for name in self.fields))
        self._repeated_until = 0

    @abstractmethod
    def parse(self, cells: tuple[str, ...]) -> ParsedStatement:
        """Return the statement of a row, given its cells in the order of `fields`. Raise BadInput that names a column."""

    @property
    def bytes_read(self) -> int:
        return self._lines.bytes_read

    def row_error(self, line: int, error: HeadwaterError) -> RowError:
        """Return the error of a row with the column in place of the input field."""
        candidates = [column for column, field in self.fields.items() if field == error.field]
        if not candidates:
            return RowError.quoting(line, None, error.message, error.code)
        column = next((it for it in candidates if it in self.columns), None)
        message = re.sub(rf"^{error.field}\b", column or candidates[0], error.message)
        return RowError.quoting(line, column, message, error.code)

    def __iter__(self) -> Iterator[Row | RowError]:
        lines, pick, parse, width = self._lines, self._pick, self.parse, len(self.columns)
        reader = csv.reader(iter(lines), strict=True)
        while True:
            lines.begin_row()
            try:
                cells = next(reader, None)
            except (csv.Error, RowTooLong) as error:
                yield self._malformed(error)
                reader = csv.reader(iter(lines), strict=True)
                continue
            if cells is None:
                return
            if len(cells) != width:
                if not _is_blank(cells):
                    yield self._wrong_width(cells)
            elif lines.suspect and (invalid := first_invalid(cells)):
                yield RowError(lines.first, self.columns[invalid.position], invalid.message)
            else:
                cells.append("")
                try:
                    row = Row(lines.first, parse(pick(cells)))
                except BadInput as error:
                    yield RowError.quoting(lines.first, error.field, error.message)
                else:
                    yield row

    def _read_header(self) -> tuple[str, ...]:
        """Return the columns, or raise BadInput if this is not a CSV file of this kind."""
        lines = self._lines
        beginning = lines.peek_first_line()
        where = f"line {lines.number + 1}"
        for magic, format_ in _OTHER_FORMATS.items():
            if beginning.lstrip().startswith(magic):
                raise BadInput(f"{where}: This is not a CSV file but {format_.format(command=self.command)}")
        try:
            beginning.decode()
        except UnicodeDecodeError as error:
            raise BadInput(f"{where}: This is not a CSV file in UTF-8. Save it in UTF-8.") from error
        if _CONTROL_CHARACTER.search(beginning):
            raise BadInput(f"{where}: This is not a CSV file: the line holds control characters.")
        try:
            names = next(csv.reader(iter(lines), strict=True), None)
        except (csv.Error, RowTooLong) as error:
            raise BadInput(f"{where}: The header cannot be read. {self.expected}") from error
        if names is None:
            raise BadInput(f"line 1: The file is empty. It needs a header. {self.expected}")
        columns = tuple(name.strip() for name in names)
        if errors := self._header_errors(columns):
            separator = ""
            if len(columns) == 1 and _OTHER_SEPARATOR.search(columns[0]):
                separator = " Separate columns by commas."
            named = ", ".join(map(repr, columns))
            raise BadInput(shorten(f"{where}: In the header {', '.join(errors)}; it names {named}.{separator} {self.expected}"))
        return columns

    def _header_errors(self, columns: Sequence[str]) -> list[str]:
        missing = [f"{' or '.join(names)} is missing" for names in self.required if not set(names) & set(columns)]
        repeated = [f"{name} is repeated" for name in self.fields if columns.count(name) > 1]
        unknown = [f"{name!r} is unknown" for name in dict.fromkeys(columns) if name not in self.fields]
        return missing + repeated + unknown

    def _wrong_width(self, cells: Sequence[str]) -> RowError:
        """Return the error of a row with more or fewer cells than the header."""
        lines, missing = self._lines, self.columns[len(cells) :]
        counts = f"The row has {len(cells)} of {len(self.columns)} cells"
        end = f" The row ends on line {lines.number}." if lines.number > lines.first else ""
        if missing:
            return RowError(lines.first, missing[0], f"{counts}; missing: {', '.join(missing)}.{end}")
        return RowError(lines.first, None, f"{counts}. Quote a cell that holds a comma.{end}")

    def _malformed(self, error: Exception) -> RowError:
        """Return the error of a row that cannot be read.

        A quote that is not closed swallows the lines that follow. They are read again as rows, but only once, so that reading
        takes linear time.
        """
        lines, column = self._lines, None
        if isinstance(error, RowTooLong):
            message = f"The row is longer than {ROW_LENGTH} bytes. Check for a quote that is not closed."
        else:
            message = next(it for beginning, it in _MALFORMED.items() if beginning in str(error))
            message = message.format(limit=csv.field_size_limit())
            column = self._malformed_column()
        last = lines.number
        if last > lines.first:
            if isinstance(error, csv.Error) and lines.first > self._repeated_until:
                self._repeated_until = last
                lines.repeat_rest_of_row()
            else:
                message += f" The lines up to {last} are skipped with it."
        return RowError(lines.first, column, message)

    def _malformed_column(self) -> str | None:
        """Return the column that follows the last well-formed cell of the current row."""
        text, end, index = self._lines.row_text(), 0, 0
        while (match := _CELL_AND_COMMA.match(text, end)) and match.end() - end <= csv.field_size_limit():
            end = match.end()
            index += 1
        return self.columns[index] if index < len(self.columns) else None


def _is_blank(cells: Sequence[str]) -> bool:
    """Return True for the cells of a blank line."""
    return len(cells) <= 1 and not "".join(cells).strip()

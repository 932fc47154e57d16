"""Lines of a CSV file as text, with those of the current row."""

from collections import deque
from collections.abc import Iterator
from typing import BinaryIO

# Longest row, in bytes.
ROW_LENGTH = 1024 * 1024

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class RowTooLong(Exception):
    """A row has more than ROW_LENGTH bytes, and was skipped."""


class CsvLines:
    """Iterator over the lines of a file, which remembers the lines of the current row and can repeat them.

    Bytes that are not UTF-8 become lone surrogates.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._repeated: deque[bytes] = deque()
        self._row: list[bytes] = []
        # number of the current line, and of the first line of the current row
        self.number = 0
        self.first = 0
        self.bytes_read = 0
        # True if the current row may hold a NUL or a byte that is not UTF-8
        self.suspect = False

    def begin_row(self) -> None:
        self._row.clear()
        self.first = self.number + 1
        self.suspect = False

    def __iter__(self) -> Iterator[str]:
        readline, repeated, row = self._file.readline, self._repeated, self._row
        length = 0
        while line := repeated.popleft() if repeated else readline(ROW_LENGTH):
            self.number += 1
            self.bytes_read += len(line)
            length = length + len(line) if row else len(line)
            if length >= ROW_LENGTH:
                self._skip_rest_of(line)
                raise RowTooLong
            row.append(line)
            if b"\0" in line:
                self.suspect = True
            try:
                text = line.decode()
            except UnicodeDecodeError:
                self.suspect = True
                text = line.decode(errors="surrogateescape")
            yield text

    def peek_first_line(self) -> bytes:
        """Return the first line that is not blank, without a byte order mark. Iteration begins with it."""
        line = self._file.readline(ROW_LENGTH).removeprefix(_BYTE_ORDER_MARK)
        while line and not line.strip():
            self.number += 1
            self.bytes_read += len(line)
            line = self._file.readline(ROW_LENGTH)
        self._repeated.append(line)
        return line

    def row_text(self) -> str:
        """Return the current row as far as it was read."""
        return b"".join(self._row).decode(errors="surrogateescape")

    def repeat_rest_of_row(self) -> None:
        """Make the lines after the first line of the current row come again."""
        rest = self._row[1:]
        self._repeated.extend(rest)
        self.bytes_read -= sum(map(len, rest))
        self.number = self.first

    def _skip_rest_of(self, line: bytes) -> None:
        while len(line) == ROW_LENGTH and not line.endswith(b"\n"):
            line = self._file.readline(ROW_LENGTH)
            self.bytes_read += len(line)

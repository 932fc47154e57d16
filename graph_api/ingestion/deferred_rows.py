"""Rows that a load defers, in a temporary file once they are many."""

import copyreg
import pickle
import sqlite3
from collections.abc import Iterator
from weakref import finalize

from db.temporal.kind import Kind
from db.temporal.kinds import KIND_OF
from graph_api.ingestion.row import Row

# Rows that are written at once.
_CHUNK = 100

# Instants of types, which need none, and of rows without an instant: the first and the last in the order of texts.
_NO_INSTANT = ""
_NOW = "now"


def _kind_named(name: str) -> Kind:
    return KIND_OF[name]


# A kind is written as its name: code compares kinds by identity.
copyreg.pickle(Kind, lambda kind: (_kind_named, (kind.name,)))


class DeferredRows:
    """A queue that is filled first, and then read, any number of times, in the order of the instants of its rows.

    In that order, a name that passes from one asset to the next means the same as if the file were ordered.
    """

    def __init__(self) -> None:
        self.bytes_read = 0
        # a database without a name is a temporary file, which SQLite writes once its cache is full
        self._rows = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        finalize(self, self._rows.close)
        self._rows.execute("CREATE TABLE deferred (at TEXT, line INTEGER, content BLOB)")
        self._unwritten: list[tuple[str, int, bytes]] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, row: Row) -> None:
        self._count += 1
        self._unwritten.append((_order_of(row), row.line, pickle.dumps(row, pickle.HIGHEST_PROTOCOL)))
        if len(self._unwritten) == _CHUNK:
            self._write()

    def extend(self, others: "DeferredRows") -> None:
        for row in others:
            self.add(row)

    def __iter__(self) -> Iterator[Row]:
        self._write()
        for (content,) in self._rows.execute("SELECT content FROM deferred ORDER BY at, line"):
            self.bytes_read += len(content)
            row: Row = pickle.loads(content)
            yield row

    def _write(self) -> None:
        self._rows.execute("BEGIN")
        self._rows.executemany("INSERT INTO deferred VALUES (?, ?, ?)", self._unwritten)
        self._rows.execute("COMMIT")
        self._unwritten = []


def _order_of(row: Row) -> str:
    """Return the instant of a row as a text that sorts like it."""
    if not hasattr(row.statement, "at"):
        return _NO_INSTANT
    return _NOW if row.statement.at is None else row.statement.at.isoformat(timespec="microseconds")

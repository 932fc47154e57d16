"""Rows that have to wait for others, in a file of our own once they are many."""

import pickle
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from typing import Any, cast
from weakref import finalize

from db.temporal.kind import Kind
from db.temporal.kinds import ASSET_KINDS
from graph_api.ingestion.row import Row

# How many rows are written at once, and how many bytes are kept in memory.
_CHUNK = 100
_IN_MEMORY = 4 * 1024 * 1024

_KINDS = {kind.name: kind for kind in ASSET_KINDS}


class DeferredRows:
    """A queue: it is filled, and then read through, perhaps repeatedly."""

    def __init__(self) -> None:
        self.position = 0
        self._file = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115
        # it is gone when nobody needs it any more
        finalize(self, self._file.close)
        self._next: list[Row] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, row: Row) -> None:
        self._count += 1
        self._next.append(row)
        if len(self._next) == _CHUNK:
            self._write()

    def extend(self, others: "DeferredRows") -> None:
        for row in others:
            self.add(row)

    def __iter__(self) -> Iterator[Row]:
        self._write()
        end = self._file.tell()
        self._file.seek(0)
        while (position := self._file.tell()) < end:
            yield from cast(list[Row], _Unpickler(self._file).load())
            self.position = position

    def _write(self) -> None:
        _Pickler(self._file, pickle.HIGHEST_PROTOCOL).dump(self._next)
        self._next = []


class _Pickler(pickle.Pickler):
    """Writes rows. A kind is one and the same object everywhere: its name is written."""

    def persistent_id(self, it: Any) -> str | None:
        return it.name if isinstance(it, Kind) else None


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, name: Any) -> Kind:
        return _KINDS[name]

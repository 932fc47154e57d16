"""Rows that a load defers, in a temporary file once they are many."""

import pickle
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from typing import Any, cast
from weakref import finalize

from db.temporal.kind import Kind
from db.temporal.kinds import ASSET_KINDS
from graph_api.ingestion.row import Row

# Rows that are written at once, and bytes that are kept in memory.
_CHUNK = 100
_IN_MEMORY = 4 * 1024 * 1024

_KINDS = {kind.name: kind for kind in ASSET_KINDS}


class DeferredRows:
    """A queue that is filled first, and then read from its beginning, any number of times."""

    def __init__(self) -> None:
        self.bytes_read = 0
        self._file = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115
        finalize(self, self._file.close)
        self._unwritten: list[Row] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, row: Row) -> None:
        self._count += 1
        self._unwritten.append(row)
        if len(self._unwritten) == _CHUNK:
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
            self.bytes_read = position

    def _write(self) -> None:
        _Pickler(self._file, pickle.HIGHEST_PROTOCOL).dump(self._unwritten)
        self._unwritten = []


class _Pickler(pickle.Pickler):
    """Pickler that writes a kind by its name: code compares kinds by identity."""

    def persistent_id(self, value: Any) -> str | None:
        return value.name if isinstance(value, Kind) else None


class _Unpickler(pickle.Unpickler):
    """Unpickler that reads a kind by its name."""

    def persistent_load(self, name: Any) -> Kind:
        return _KINDS[name]

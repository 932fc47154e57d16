"""Rows: those of the database, and those that are built from other data. Both are read by attribute and by name."""

from typing import Any

import asyncpg


class _ColumnsAsAttributes:
    """Reads the columns of a row as its attributes."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]  # type: ignore[index]
        except KeyError:
            raise AttributeError(f"The row has no column {name!r}.") from None


class Row(_ColumnsAsAttributes, asyncpg.Record):
    """A row of the database. A column `keys`, `values`, `items` or `get` is read by index."""

    __slots__ = ()


class BuiltRow(_ColumnsAsAttributes, dict[str, Any]):
    """A row that is built from other data."""

    __slots__ = ()

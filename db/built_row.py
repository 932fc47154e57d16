"""Rows that are built from other data. Like rows of the database, they are read by attribute and by name."""

from typing import Any


class BuiltRow(dict[str, Any]):
    """A row whose columns are its attributes."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"The row has no column {name!r}.") from None

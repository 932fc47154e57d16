"""Keyset pages: a stretch of a totally ordered list, from a place in it on, forward or backward."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, tuple_

T = TypeVar("T")

DIRECTIONS = ("ASC", "DESC")
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Page:
    """Up to `size` items strictly between two places; the first of them, or the last when `backward`."""

    size: int
    backward: bool = False
    after: tuple[Any, ...] | None = None
    before: tuple[Any, ...] | None = None

    @property
    def limit(self) -> int:
        """One row more than the page holds tells whether there is more."""
        return self.size + 1

    def slice(self, rows: Sequence[Row], build: Callable[[Row], T]) -> "Slice[T]":
        """The page out of rows fetched in its direction, in the list's own order."""
        kept = [build(row) for row in rows[: self.size]]
        if self.backward:
            kept.reverse()
        return Slice(kept, more=len(rows) > self.size)

    @property
    def direction(self) -> str:
        """The SQL direction in which the page is read, where the list itself ascends."""
        return "DESC" if self.backward else "ASC"

    def apply(self, statement: Select[Any], *keys: ColumnElement[Any], descending: bool = False) -> Select[Any]:
        """Order a statement by keys that tell all rows apart, and keep to the page."""
        place = tuple_(*keys)
        if self.after is not None:
            statement = statement.where(place < self.after if descending else place > self.after)
        if self.before is not None:
            statement = statement.where(place > self.before if descending else place < self.before)
        return statement.order_by(*self.order(*keys, descending=descending)).limit(self.limit)

    def order(self, *keys: ColumnElement[Any], descending: bool = False) -> list[ColumnElement[Any]]:
        """The order in which the page is read."""
        down = descending != self.backward
        return [key.desc() if down else key.asc() for key in keys]


@dataclass(frozen=True, slots=True)
class Slice(Generic[T]):
    """What a page holds, and whether more lies beyond it in the direction it was read."""

    items: list[T]
    more: bool

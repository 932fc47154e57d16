"""Keyset pagination: a page is a number of rows after or before a cursor, in a total order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import BigInteger, ColumnElement, Select, bindparam, tuple_

T = TypeVar("T")

DIRECTIONS = ("ASC", "DESC")
Row = TypeVar("Row")


class PageShape(NamedTuple):
    """The part of a page that its statement depends on: its direction, and the cursors it has."""

    backward: bool
    has_after: bool
    has_before: bool

    @property
    def direction(self) -> str:
        """SQL direction in which the page is fetched from a list in ascending order."""
        return "DESC" if self.backward else "ASC"

    def apply(self, statement: Select[Any], *keys: ColumnElement[Any], descending: bool = False) -> Select[Any]:
        """Add the cursors, the order and the limit to a statement. The sort keys identify a row."""
        sort_key = tuple_(*keys)
        after, before = _cursor("after", keys), _cursor("before", keys)
        if self.has_after:
            statement = statement.where(sort_key < after if descending else sort_key > after)
        if self.has_before:
            statement = statement.where(sort_key > before if descending else sort_key < before)
        return statement.order_by(*self.order(*keys, descending=descending)).limit(bindparam("limit", type_=BigInteger))

    def order(self, *keys: ColumnElement[Any], descending: bool = False) -> list[ColumnElement[Any]]:
        """Build the ORDER BY of the direction in which the page is fetched."""
        down = descending != self.backward
        return [key.desc() if down else key.asc() for key in keys]


@dataclass(frozen=True, slots=True)
class Page:
    """Up to `size` rows strictly between two cursors: the first of them, or the last if `backward`. A cursor is the tuple of sort
    keys of a row."""

    size: int
    backward: bool = False
    after: tuple[Any, ...] | None = None
    before: tuple[Any, ...] | None = None

    @property
    def limit(self) -> int:
        """Number of rows to fetch: one more than the page has, which tells whether there are more."""
        return self.size + 1

    @property
    def direction(self) -> str:
        """SQL direction in which the page is fetched from a list in ascending order."""
        return self.shape.direction

    def slice(self, rows: Sequence[Row], build: Callable[[Row], T]) -> "Slice[T]":
        """Build the page, in the order of the list, from rows that were fetched in its direction."""
        items = [build(row) for row in rows[: self.size]]
        if self.backward:
            items.reverse()
        return Slice(items, more=len(rows) > self.size)

    @property
    def shape(self) -> PageShape:
        return PageShape(self.backward, self.after is not None, self.before is not None)

    @property
    def parameters(self) -> dict[str, Any]:
        """The values of the parameters that `PageShape.apply` adds to a statement."""
        parameters: dict[str, Any] = {"limit": self.limit}
        for name, cursor in (("after", self.after), ("before", self.before)):
            parameters |= {f"{name}_{number}": value for number, value in enumerate(cursor or ())}
        return parameters


@dataclass(frozen=True, slots=True)
class Slice(Generic[T]):
    """The items of a page, and whether there are more in the direction in which it was fetched."""

    items: list[T]
    more: bool


def _cursor(name: str, keys: Sequence[ColumnElement[Any]]) -> ColumnElement[Any]:
    return tuple_(*(bindparam(f"{name}_{number}", type_=key.type) for number, key in enumerate(keys)))

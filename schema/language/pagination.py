"""Connections: keyset pages, forward and backward, with cursors that belong to one list and no other."""

import base64
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Generic, TypeVar

import orjson
import strawberry

from db.errors import BadInput, LimitExceeded
from db.instants import write_instant
from db.pagination import Page, Slice
from schema.language.cost import list_size
from schema.language.scalars import parse_instant
from schema.language.scopes import READ, field, resolver

T = TypeVar("T")
Row = TypeVar("Row")

DEFAULT_PAGE_SIZE = 50

First = Annotated[
    int | None, strawberry.argument(description="How many to give, from the start on. 50 if neither first nor last is given.")
]
After = Annotated[str | None, strawberry.argument(description="Give what comes after this cursor of the same list.")]
Last = Annotated[int | None, strawberry.argument(description="How many to give, from the end back.")]
Before = Annotated[str | None, strawberry.argument(description="Give what comes before this cursor of the same list.")]

# A field that gives a page of a list.
paged = list_size(DEFAULT_PAGE_SIZE, by=("first", "last"), of=("edges", "nodes"))


@strawberry.enum(description="Which way an order runs.")
class OrderDirection(Enum):
    ASC = strawberry.enum_value("ASC", description="From the least to the greatest.")
    DESC = strawberry.enum_value("DESC", description="From the greatest to the least.")


@strawberry.federation.type(description="Where a page stands in its list.", shareable=True)
class PageInfo:
    has_next_page: bool = field(READ, "Whether the list goes on after this page.")
    has_previous_page: bool = field(READ, "Whether the list has something before this page.")
    start_cursor: str | None = field(READ, "The cursor of the first item here.")
    end_cursor: str | None = field(READ, "The cursor of the last item here.")


@strawberry.type(description="An item of a list, and its place there.")
class Edge(Generic[T]):
    cursor: str = field(READ, "The place of this item in its list, to be given as after or before.")
    node: T = field(READ, "The item.")


@strawberry.type(description="A page of a list.")
class Connection(Generic[T]):
    edges: list[Edge[T]] = field(READ, "The items of this page with their places.")
    page_info: PageInfo = field(READ, "Where this page stands in its list.")
    count: strawberry.Private[Callable[[], Awaitable[int]]]

    @resolver(READ, "The items of this page.")
    def nodes(self) -> list[T]:
        return [edge.node for edge in self.edges]

    @resolver(READ, "How many items the whole list has. Counted only when it is asked for.")
    async def total_count(self) -> int | None:
        return await self.count()


def page_size(name: str, size: int, largest: int) -> int:
    """How many an argument asks for, if it may."""
    if size < 1:
        raise BadInput(f"{name} is {size}. Ask for at least 1.", field=name)
    if size > largest:
        raise LimitExceeded(f"{name} is {size}. At most {largest} come on one page.", field=name)
    return size


class Keyset:
    """One list as its pages know it: what identifies it, and how a place in it is written.

    `of` is everything that decides which items the list has and in which order. A cursor carries its digest, so that a cursor
    of another list is recognised.
    """

    def __init__(self, *of: Any, key: Sequence[type]) -> None:
        self._digest = hashlib.blake2b(repr(of).encode(), digest_size=6).hexdigest()
        self._key = tuple(key)

    def page(self, *, first: int | None, after: str | None, last: int | None, before: str | None, largest: int) -> Page:
        """The page that these arguments ask for."""
        if first is not None and last is not None:
            raise BadInput("Both first and last are given. Give first to go forward, or last to go backward.", field="last")
        name, size = ("last", last) if last is not None else ("first", first)
        if size is None:
            size = min(DEFAULT_PAGE_SIZE, largest)
        return Page(
            page_size(name, size, largest),
            backward=last is not None,
            after=None if after is None else self._read(after, "after"),
            before=None if before is None else self._read(before, "before"),
        )

    def connection(
        self,
        page: Page,
        slice_: Slice[Row],
        *,
        nodes: Sequence[T],
        cursor_key: Callable[[Row], tuple[Any, ...]],
        count: Callable[[], Awaitable[int]],
    ) -> Connection[T]:
        """The page as the API gives it."""
        edges = [Edge(cursor=self.cursor(cursor_key(row)), node=node) for row, node in zip(slice_.items, nodes, strict=True)]
        info = PageInfo(
            has_next_page=page.before is not None if page.backward else slice_.more,
            has_previous_page=slice_.more if page.backward else page.after is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        )
        return Connection(edges=edges, page_info=info, count=count)

    def cursor(self, place: tuple[Any, ...]) -> str:
        """How a place in the list is written."""
        parts = [write_instant(part) if isinstance(part, datetime) else part for part in place]
        return base64.urlsafe_b64encode(orjson.dumps([self._digest, *parts])).rstrip(b"=").decode()

    def _read(self, cursor: str, name: str) -> tuple[Any, ...]:
        try:
            decoded = orjson.loads(base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)))
            digest, *parts = decoded
            place = tuple(
                parse_instant(part) if wanted is datetime else part for part, wanted in zip(parts, self._key, strict=True)
            )
            genuine = digest == self._digest and self.cursor(place) == cursor
            genuine = genuine and all(_storable(part, wanted) for part, wanted in zip(place, self._key, strict=True))
        except Exception as error:
            raise BadInput(f"{name} is no cursor. Use a cursor as this list gave it.", field=name) from error
        if not genuine:
            raise BadInput(f"{name} is the cursor of another list: its filter, order or instant differs.", field=name)
        return place


def _storable(part: Any, wanted: type) -> bool:
    """Whether a part of a place is of its type, and within what the database keeps of it."""
    if type(part) is not wanted:
        return False
    if isinstance(part, int):
        return -(2**63) <= part < 2**63
    return not (isinstance(part, str) and "\0" in part)

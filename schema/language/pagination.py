"""Connections: keyset pages, forward and backward, with cursors that are valid for one list only."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from functools import partial
from typing import Annotated, Any, Generic, NamedTuple, TypeVar

import strawberry

from db.errors import BadInput, LimitExceeded
from db.pagination import Page, Slice
from schema.language.cost import list_size
from schema.language.cursors import DIGEST_SIZE, CursorCipher
from schema.language.fields import batched, carried, field, resolver
from schema.language.scopes import SELF

T = TypeVar("T")
Row = TypeVar("Row")

DEFAULT_PAGE_SIZE = 50

First = Annotated[
    int | None,
    strawberry.argument(description="Number of items, from the start of the list. Defaults to 50 if `last` is not given."),
]
After = Annotated[str | None, strawberry.argument(description="Cursor of this list: the page begins after its item.")]
Last = Annotated[int | None, strawberry.argument(description="Number of items, from the end of the list.")]
Before = Annotated[str | None, strawberry.argument(description="Cursor of this list: the page ends before its item.")]

# Decorates a field that returns a page.
paged = list_size(DEFAULT_PAGE_SIZE, by=("first", "last"), of=("edges", "nodes"))


@strawberry.enum(description="Direction of an order.")
class OrderDirection(Enum):
    ASC = strawberry.enum_value("ASC", description="Ascending.")
    DESC = strawberry.enum_value("DESC", description="Descending.")


# The fields of pages need no scope of their own: only a field that returns a list, which needs one, leads to them.
@strawberry.federation.type(description="Position of a page in its list.", shareable=True)
class PageInfo:
    has_next_page: bool = field(SELF, "True if the list has items after this page.")
    has_previous_page: bool = field(SELF, "True if the list has items before this page.")
    # write the cursors of the first and the last item; None: the page is empty
    write_start_cursor: strawberry.Private[Callable[[], str] | None]
    write_end_cursor: strawberry.Private[Callable[[], str] | None]

    @resolver(SELF, "Cursor of the first item of this page.")
    def start_cursor(self) -> str | None:
        return self.write_start_cursor and self.write_start_cursor()

    @resolver(SELF, "Cursor of the last item of this page.")
    def end_cursor(self) -> str | None:
        return self.write_end_cursor and self.write_end_cursor()


@strawberry.type(description="An item of a list with its cursor.")
class Edge(Generic[T]):
    item: strawberry.Private[T]
    write_cursor: strawberry.Private[Callable[[], str]]

    @resolver(SELF, "Cursor of this item, for `after` or `before`.")
    def cursor(self) -> str:
        return self.write_cursor()

    @resolver(SELF, "The item.")
    def node(self) -> T:
        return self.item


@strawberry.type(description="A page of a list.")
class Connection(Generic[T]):
    items: strawberry.Private[Sequence[T]]
    has_next: strawberry.Private[bool]
    has_previous: strawberry.Private[bool]
    # writes the cursor of an item, by its index; a cursor costs more than the rest of an item
    write_cursor: strawberry.Private[Callable[[int], str]]
    count: strawberry.Private[Callable[[], Awaitable[int]]]

    # batched, so that a plan completes a long page in chunks
    @carried()
    @batched(SELF, "Items of this page with their cursors.")
    @staticmethod
    async def edges(connections: Sequence["Connection[T]"], info: strawberry.Info) -> list[list[Edge[T]]]:
        return [
            [Edge(item=item, write_cursor=partial(it.write_cursor, index)) for index, item in enumerate(it.items)]
            for it in connections
        ]

    @resolver(SELF, "Position of this page in its list.")
    def page_info(self) -> PageInfo:
        return PageInfo(
            has_next_page=self.has_next,
            has_previous_page=self.has_previous,
            write_start_cursor=partial(self.write_cursor, 0) if self.items else None,
            write_end_cursor=partial(self.write_cursor, len(self.items) - 1) if self.items else None,
        )

    @carried()
    @batched(SELF, "Items of this page.")
    @staticmethod
    async def nodes(connections: Sequence["Connection[T]"], info: strawberry.Info) -> list[list[T]]:
        return [list(it.items) for it in connections]

    @resolver(SELF, "Number of items of the whole list. Counted only if it is selected.")
    async def total_count(self, info: strawberry.Info) -> int | None:
        number = await self.count()
        info.context.cost_meter.counted += number
        return number


class PageArguments(NamedTuple):
    """Arguments of a field that returns a page."""

    first: int | None
    after: str | None
    last: int | None
    before: str | None


def checked_page_size(name: str, size: int, limit: int) -> int:
    """Return the size of a page that an argument requests. Raise an error if it is not within the limit."""
    if size < 1:
        raise BadInput(f"{name} is {size}. At least 1 is required.", field=name)
    if size > limit:
        raise LimitExceeded(f"{name} is {size}. At most {limit} is allowed.", field=name)
    return size


class Keyset:
    """A list, as its pages and cursors identify it.

    `identity` is everything that determines the items of the list and their order. A cursor contains its digest, so that a cursor
    of another list is refused. `key` holds the types of the columns that the list is ordered by. The cipher is the tenant's.
    """

    def __init__(self, cipher: CursorCipher, *identity: Any, key: Sequence[type]) -> None:
        self._cipher = cipher
        self._digest = hashlib.blake2b(repr(identity).encode(), digest_size=DIGEST_SIZE).digest()
        self._key = tuple(key)

    def page(self, arguments: PageArguments, limit: int) -> Page:
        """Return the page that the arguments of a field request."""
        first, after, last, before = arguments
        if first is not None and last is not None:
            raise BadInput("first and last are both given. Use first to page forward, or last to page backward.", field="last")
        name, size = ("last", last) if last is not None else ("first", first)
        if size is None:
            size = min(DEFAULT_PAGE_SIZE, limit)
        return Page(
            checked_page_size(name, size, limit),
            backward=last is not None,
            after=None if after is None else self.read(after, "after"),
            before=None if before is None else self.read(before, "before"),
        )

    def connection(
        self,
        page: Page,
        rows: Slice[Row],
        *,
        nodes: Sequence[T],
        cursor_key: Callable[[Row], tuple[Any, ...]],
        count: Callable[[], Awaitable[int]],
    ) -> Connection[T]:
        """Build the connection of a page from its rows, and the node of each row."""
        return Connection(
            items=nodes,
            has_next=page.before is not None if page.backward else rows.more,
            has_previous=rows.more if page.backward else page.after is not None,
            write_cursor=lambda index: self.cursor(cursor_key(rows.items[index])),
            count=count,
        )

    def cursor(self, cursor_key: tuple[Any, ...]) -> str:
        """Return the cursor of an item, from the values of the columns that the list is ordered by."""
        return self._cipher.seal(self._digest, cursor_key)

    def read(self, cursor: str, name: str) -> tuple[Any, ...]:
        """Return the values of a cursor, which the argument `name` gives."""
        opened = self._cipher.open(cursor)
        if opened is None:
            raise BadInput(f"{name} is not a cursor. Use a cursor that this list returned.", field=name)
        digest, cursor_key = opened
        if digest != self._digest or tuple(map(type, cursor_key)) != self._key:
            raise BadInput(
                f"{name} is a cursor of a list with another filter, order or instant. Use a cursor that this list returned.",
                field=name,
            )
        return cursor_key

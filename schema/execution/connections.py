"""Connections: fetch the rows of a page and build its nodes."""

from collections.abc import Awaitable, Callable, Sequence
from inspect import isawaitable
from typing import Any, Concatenate, ParamSpec, TypeVar

from db.connection import ReadConnection
from db.pagination import Page, Slice
from schema.execution.context import Info
from schema.language.pagination import Connection, Keyset, PageArguments

Row = TypeVar("Row")
Node = TypeVar("Node")
Value = TypeVar("Value")
Arguments = ParamSpec("Arguments")


async def fetch_connection(
    info: Info,
    keyset: Keyset,
    arguments: PageArguments,
    *,
    fetch: Callable[[Page], Awaitable[Slice[Row]]],
    nodes: Callable[[list[Row]], Sequence[Node] | Awaitable[Sequence[Node]]],
    cursor_key: Callable[[Row], tuple[Any, ...]],
    count: Callable[[], Awaitable[int]],
) -> Connection[Node]:
    """Fetch a page of a list and build its nodes, all of them at once. `count` runs only if totalCount is selected."""
    page = keyset.page(arguments, info.context.limits.page_size)
    rows = await fetch(page)
    built = nodes(rows.items)
    return keyset.connection(page, rows, nodes=await built if isawaitable(built) else built, cursor_key=cursor_key, count=count)


async def read(
    info: Info,
    function: Callable[Concatenate[ReadConnection, Arguments], Awaitable[Value]],
    *arguments: Arguments.args,
    **options: Arguments.kwargs,
) -> Value:
    """Call a function of the database layer with the connection of the operation."""
    return await function(await info.context.transaction.reader(), *arguments, **options)

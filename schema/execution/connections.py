"""Connections: fetch the rows of a page and build its nodes."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from inspect import isawaitable
from typing import Any, Concatenate, ParamSpec, TypeVar

from db.connection import ReadConnection
from db.entry_list import EntryList
from db.pagination import Page, Slice
from schema.execution.context import Info
from schema.language.fields import each
from schema.language.pagination import Connection, Keyset, PageArguments

Parent = TypeVar("Parent")
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


async def entry_connection(
    info: Info,
    name: str,
    entries: EntryList[Row],
    arguments: PageArguments,
    *,
    key: Sequence[type],
    node: Callable[[Row], Node],
) -> Connection[Node]:
    """Fetch a page of all entries of a table, such as a registry."""
    return await fetch_connection(
        info,
        Keyset(info.context.cursor_cipher, name, key=key),
        arguments,
        fetch=lambda page: read(info, entries.page, page),
        nodes=lambda rows: [node(row) for row in rows],
        cursor_key=entries.cursor_key,
        count=lambda: read(info, entries.count),
    )


async def fetch_connections(
    info: Info,
    parents: Sequence[Parent],
    arguments: PageArguments,
    *,
    keyset: Callable[[Parent], Keyset],
    fetch: Callable[[Sequence[Parent], Page], Awaitable[Sequence[Slice[Row]]]],
    nodes: Callable[[Parent, list[Row]], Sequence[Node] | Awaitable[Sequence[Node]]],
    cursor_key: Callable[[Parent, Row], tuple[Any, ...]],
    count: Callable[[Parent], Awaitable[int]],
) -> list[Any]:
    """Fetch a page of the list of each parent, all of them together. An invalid cursor is the error of its parent."""
    keysets = [keyset(parent) for parent in parents]
    limit = info.context.limits.page_size
    pages = each(lambda it: it.page(arguments, limit), keysets)
    indexes: defaultdict[Page, list[int]] = defaultdict(list)
    for index, page in enumerate(pages):
        if isinstance(page, Page):
            indexes[page].append(index)
    connections = list(pages)
    for page, group in indexes.items():
        of_group = [parents[index] for index in group]
        slices = await fetch(of_group, page)
        built = [nodes(parent, rows.items) for parent, rows in zip(of_group, slices, strict=True)]
        # started together, so that the loaders see the rows of all parents
        lists = await asyncio.gather(*(_awaited(it) for it in built), return_exceptions=True)
        for index, parent, rows, items in zip(group, of_group, slices, lists, strict=True):
            connections[index] = (
                items
                if isinstance(items, BaseException)
                else keysets[index].connection(
                    page, rows, nodes=items, cursor_key=partial(cursor_key, parent), count=partial(count, parent)
                )
            )
    return connections


async def _awaited(nodes: Sequence[Node] | Awaitable[Sequence[Node]]) -> Sequence[Node]:
    return await nodes if isawaitable(nodes) else nodes


async def read(
    info: Info,
    function: Callable[Concatenate[ReadConnection, Arguments], Awaitable[Value]],
    *arguments: Arguments.args,
    **options: Arguments.kwargs,
) -> Value:
    """Call a function of the database layer with the connection of the operation."""
    return await function(await info.context.transaction.reader(), *arguments, **options)

"""Walks from assets by id, with the assets of their first page, in one statement."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple, cast

from db.assets.asset_fields import AS_OF
from db.assets.node import NodeRow, node_fields
from db.connection import ReadConnection
from db.lineage.walk import (
    ALL_ASSETS,
    Walk,
    WalkQuery,
    WalkShape,
    bound_parameters,
    link_parameters,
    render_walk,
    run_walks,
    walk_of_levels,
)
from db.sql import MAX_SHAPES, Statement, statement


class WalkRoot(NamedTuple):
    """An asset to walk from at an instant, by default now, and the number of assets on the first page."""

    asset_id: int
    as_of: datetime | None
    size: int


class FirstPage(NamedTuple):
    """A walk, and the assets of its first page, by id."""

    walk: Walk
    assets: Mapping[int, NodeRow]


async def first_pages(connection: ReadConnection, roots: Sequence[WalkRoot], query: WalkQuery) -> list[FirstPage]:
    """Walk from many roots, each at its instant, and read the first page of each walk. With a filter of assets, sizes are 0.

    Roots that differ in the size of the page alone share a walk.
    """
    sizes: dict[tuple[int, datetime | None], int] = {}
    for asset_id, as_of, size in roots:
        sizes[asset_id, as_of] = max(size, sizes.get((asset_id, as_of), 0))
    if any(sizes.values()):
        assert query.assets == ALL_ASSETS, "the first assets of a walk are those that it shows"
        pages = await _walk_and_read(connection, sizes, query)
    else:
        pages = [FirstPage(walk, {}) for walk in await run_walks(connection, list(sizes), query)]
    found = dict(zip(sizes, pages, strict=True))
    return [found[asset_id, as_of] for asset_id, as_of, _ in roots]


async def _walk_and_read(
    connection: ReadConnection, sizes: Mapping[tuple[int, datetime | None], int], query: WalkQuery
) -> list[FirstPage]:
    rows = await connection.fetch(
        _statement(WalkShape.of(query), connection.asset_fields),
        {
            "roots": [asset_id for asset_id, _ in sizes],
            "instants": [as_of or connection.now_if_read for _, as_of in sizes],
            "sizes": list(sizes.values()),
            **bound_parameters(query),
            **link_parameters(query.links),
        },
    )
    pages = groupby(rows, key=itemgetter("ordinal"))
    return [_first_page(list(of_root), query, size) for size, (_, of_root) in zip(sizes.values(), pages, strict=True)]


def _first_page(rows: Sequence[Any], query: WalkQuery, size: int) -> FirstPage:
    """Build the page of one root from its rows, the first of which is that of the root."""
    member_ids = [row["member_id"] for row in rows]
    levels: list[list[int]] = []
    start = 0
    while start < len(rows):
        # the root is not among the visited assets
        stop = rows[start]["visited"] + 1
        levels.append(member_ids[start:stop])
        start = stop
    # the first level holds the root alone
    walk = walk_of_levels(member_ids[0], query, rows[0]["instant"], levels[1:], levels[1:], rows[-1])
    return FirstPage(walk, dict(zip(member_ids[1 : size + 1], cast(Sequence[NodeRow], rows[1 : size + 1]), strict=True)))


@lru_cache(MAX_SHAPES)
def _statement(shape: WalkShape, fields: frozenset[str] | None) -> Statement:
    return statement(
        "lineage/first_page",
        walk=render_walk(shape),
        as_of=", wanted.instant AS as_of" if fields is None or AS_OF in fields else "",
        **node_fields(fields),
    )

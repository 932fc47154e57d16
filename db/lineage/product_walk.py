"""Walks from a product that is named, in one statement with the product and the assets of the first page."""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple, cast

from db.assets.node import NodeRow, node_fields
from db.assets.product import ProductRow
from db.built_row import BuiltRow
from db.connection import ReadConnection
from db.lineage.walk import Direction, Walk, WalkQuery, bound_parameters, walk_from_level_rows
from db.sql import MAX_SHAPES, Statement, statement


class ProductWalk(NamedTuple):
    """A product, the walk from it, and the assets of the first page, by id."""

    product: ProductRow
    walk: Walk
    assets: Mapping[int, NodeRow]


async def walk_from_product(
    connection: ReadConnection, name: str, as_of: datetime | None, query: WalkQuery, size: int
) -> ProductWalk | None:
    """Find the product with a name, walk from it without filters, and read up to `size` assets of the walk."""
    rows = await connection.fetch(
        _statement(query.direction, connection.asset_fields),
        {"name": name, "as_of": as_of or connection.now_if_read, "size": size, **bound_parameters(query)},
    )
    if not rows:
        return None
    root = rows[0]
    levels = [_level_row(list(level)) for _, level in groupby(rows, key=lambda row: row["depth"])]
    return ProductWalk(
        cast(ProductRow, root),
        walk_from_level_rows(root.member_id, query, root.as_of, levels),
        {row["member_id"]: cast(NodeRow, row) for row in rows[1 : size + 1]},
    )


def _level_row(rows: list[Any]) -> BuiltRow:
    """Build the row that `walk.sql` returns for a level."""
    last = rows[-1]
    return BuiltRow(
        depth=last.depth,
        level=[row["member_id"] for row in rows],
        visited=last.visited,
        examined=last.examined,
        timed_out=last.timed_out,
    )


@lru_cache(MAX_SHAPES)
def _statement(direction: Direction, fields: frozenset[str] | None) -> Statement:
    near, far = direction.ends
    return statement("lineage/product_walk", near=near, far=far, link_filter="", **node_fields(fields))

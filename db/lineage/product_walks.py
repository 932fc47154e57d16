"""A product by name, the walk from it, the walks from the assets of its page, and so on, in one statement."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple, cast

from db.assets.asset_fields import AS_OF
from db.assets.node import NodeRow, node_fields
from db.assets.product import ProductRow
from db.connection import ReadConnection
from db.lineage.first_page import FirstPage
from db.lineage.walk import WalkQuery, WalkShape, bound_parameters, render_walk, walk_of_levels
from db.sql import MAX_SHAPES, Statement, render, statement


class Step(NamedTuple):
    """The walks from the product, or from all assets on the pages of the step before: a query without filters, and the number of
    assets on the page of each walk."""

    query: WalkQuery
    size: int


class ProductWalks(NamedTuple):
    """A product, and for each step its walks, by the asset from which they start."""

    product: ProductRow
    steps: Sequence[Mapping[int, FirstPage]]


async def walks_from_product(
    connection: ReadConnection, name: str, as_of: datetime | None, steps: Sequence[Step]
) -> ProductWalks | None:
    """Find the product with a name, and walk step by step. The walks share the time of the bounds and no other bound."""
    rows = await connection.fetch(
        _statement(tuple(WalkShape.of(it.query) for it in steps), connection.asset_fields),
        {"name": name, "as_of": as_of or connection.now_if_read, **_parameters(steps)},
    )
    assets: dict[int, NodeRow] = {}
    # the rows of each walk, by step and root, in order of the depth
    walks: list[defaultdict[int, list[Any]]] = [defaultdict(list) for _ in steps]
    for row in rows:
        step = row["step"]
        if step:
            walks[step - 1][row["root_id"]].append(row)
        else:
            assets[row["asset_id"]] = cast(NodeRow, row)
    if not rows:
        return None
    ((root_id, (first, *_)),) = walks[0].items()
    instant = first["instant"]

    def first_page(root: int, query: WalkQuery, of_root: Sequence[Any]) -> FirstPage:
        levels = [row["level"] for row in of_root if row["depth"]]
        return FirstPage(walk_of_levels(root, query, instant, levels, levels, of_root[-1]), assets)

    return ProductWalks(
        cast(ProductRow, assets[root_id]),
        [
            {root: first_page(root, step.query, of_root) for root, of_root in of_step.items()}
            for step, of_step in zip(steps, walks, strict=True)
        ],
    )


def _parameters(steps: Sequence[Step]) -> dict[str, Any]:
    parameters = bound_parameters(steps[0].query)
    for number, step in enumerate(steps, 1):
        parameters[f"depth_{number}"] = step.query.max_depth
        parameters[f"size_{number}"] = step.size
    return parameters


@lru_cache(MAX_SHAPES)
def _statement(shapes: tuple[WalkShape, ...], fields: frozenset[str] | None) -> Statement:
    numbered = list(enumerate(shapes, 1))
    steps = [
        render(
            "lineage/_product_walk_step",
            {
                "step": str(number),
                "roots": "page_0" if number == 1 else f"(SELECT DISTINCT asset_id, instant FROM page_{number - 1}) page",
                "walk": render_walk(shape, f":depth_{number}"),
                "size": f":size_{number}",
            },
        ).rstrip()
        for number, shape in numbered
    ]
    walks = [
        f"SELECT {number}, root_id, depth, level, visited, examined, timed_out, instant, CAST(NULL AS bigint) FROM walks_{number}"
        for number, _ in numbered
    ]
    pages = [f"SELECT asset_id, instant FROM page_{number}" for number in range(len(shapes) + 1)]
    return statement(
        "lineage/product_walks",
        steps=",\n".join(steps),
        walks="\n  UNION ALL\n  ".join(walks),
        # a walk does not return to its root, so one alone shows no asset twice
        pages=(" UNION ALL " if len(shapes) == 1 else " UNION ").join(pages),
        as_of=", wanted.instant AS as_of" if fields is None or AS_OF in fields else "",
        **node_fields(fields),
    )

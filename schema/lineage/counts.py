"""Counts of lineage: how many assets feed an asset, and how many it feeds."""

from collections.abc import Sequence
from typing import Any

from db.errors import LimitExceeded
from db.lineage.first_page import WalkRoot
from db.lineage.neighbours import NeighbourCount, Neighbourhood, count_neighbours, counts_in
from db.lineage.walk import Direction, Truncation, TruncationReason, Walk, WalkQuery
from schema.execution.context import Info
from schema.execution.loading import Batch
from schema.language.fields import each
from schema.language.walk_extent import estimate_walk
from schema.lazy import LazyAsset
from schema.lineage.walk import FIRST_PAGE_OF_WALK
from schema.lineage.walk_arguments import unfiltered_walk_query

NEIGHBOUR_COUNT = Batch(count_neighbours)


async def lineage_counts(info: Info, assets: Sequence[LazyAsset], direction: Direction, max_depth: int) -> list[Any]:
    """Count the assets that walks of many assets reach. That of an asset is an error if it is not exact."""
    query = unfiltered_walk_query(info.context.limits, direction, max_depth)
    if max_depth == 1:
        return await _count_neighbours(info, assets, query)
    return await _count_walks(info, assets, query)


async def _count_neighbours(info: Info, assets: Sequence[LazyAsset], query: WalkQuery) -> list[Any]:
    """Count neighbours by an index. Those that rows do not carry are counted with one statement in both directions."""
    counts = await _neighbour_counts(info, assets, query.direction)
    info.context.cost_meter.neighbours |= {
        (it.row["asset_id"], it.pinned, query.direction): count.links for it, count in zip(assets, counts, strict=True)
    }
    bound = query.bounds.links
    return [number if read <= bound else _inexact(Truncation.of(TruncationReason.LINKS, query.bounds)) for number, read in counts]


async def _neighbour_counts(info: Info, assets: Sequence[LazyAsset], direction: Direction) -> list[NeighbourCount]:
    carried_counts = counts_in([it.row for it in assets], direction)
    unread = [
        Neighbourhood(it.asset_id, it.pinned, direction)
        for it, count in zip(assets, carried_counts, strict=True)
        if count is None
    ]
    loaded = iter(await info.context.load_all(NEIGHBOUR_COUNT, unread) if unread else ())
    return [next(loaded) if it is None else it for it in carried_counts]


async def _count_walks(info: Info, assets: Sequence[LazyAsset], query: WalkQuery) -> list[Any]:
    """Count the assets of walks, which other fields may share."""
    limits, meter = info.context.limits, info.context.cost_meter
    cost = estimate_walk(query.bounds, info.context.figures, (query.direction,), query.max_depth).cost(query.bounds)
    reserved = 0

    def begin(asset: LazyAsset) -> WalkRoot:
        nonlocal reserved
        meter.reserve(cost, limits.cost)
        reserved += cost
        return WalkRoot(asset.asset_id, asset.pinned, 0)

    def exact(root: WalkRoot) -> int:
        walk = walks[root]
        if walk.truncation is not None:
            raise _inexact(walk.truncation)
        return walk.visited_count

    roots = each(begin, assets)
    asked = list(dict.fromkeys(it for it in roots if isinstance(it, WalkRoot)))
    found = await info.context.load_all(FIRST_PAGE_OF_WALK, asked, query)
    walks: dict[WalkRoot, Walk] = {root: page.walk for root, page in zip(asked, found, strict=True)}
    meter.settle(reserved, walks.values())
    return each(exact, roots)


def _inexact(truncation: Truncation) -> LimitExceeded:
    """Return the error of a count that a bound of walks has cut."""
    unit = {TruncationReason.ASSETS: "assets", TruncationReason.LINKS: "links", TruncationReason.TIME: "milliseconds"}
    return LimitExceeded(
        f"The count needs more than {truncation.limit} {unit[truncation.reason]}, which is the limit of a walk. Give a smaller"
        " maxDepth, or use the totalCount of a walk, which says if it is incomplete.",
        field="maxDepth",
    )

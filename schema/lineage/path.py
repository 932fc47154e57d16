"""Paths: the ways by which one asset feeds another."""

import asyncio
from enum import Enum
from typing import Annotated
from uuid import UUID

import strawberry

from db.associations import lineage_link as links
from db.errors import BadInput
from db.lineage import path
from db.lineage.walk import Direction
from schema.associations.lineage_link import LineageLink, links_of
from schema.execution.context import Info
from schema.language.cost import list_size, walk_cost
from schema.language.node_ids import AsOf
from schema.language.pagination import page_size
from schema.language.scopes import READ, field, resolver
from schema.lazy import LazyAsset, assets_by_id
from schema.lineage.walk import WalkFilter, asset_id_at, walk_query


@strawberry.type(description="A way from one asset to another.")
class LineagePath:
    assets: list[LazyAsset] = list_size(10)(field(READ, "What lies on it, from what feeds to what is fed, both ends included."))
    links: list[LineageLink] = list_size(10)(
        field(READ, "The links along it, in their order. Of several between two assets, the most trusted.")
    )
    confidence: float = field(READ, "The product of the confidences along it.")


@strawberry.type(description="Ways from one asset to another, shortest first.")
class LineagePaths:
    paths: list[LineagePath] = field(READ, "The ways. No asset comes twice on one.")
    exhaustive: bool = field(READ, "Whether these are all there are within maxDepth, or of the shortest, all those.")


@strawberry.enum(description="Which paths.")
class PathMode(Enum):
    SHORTEST = strawberry.enum_value("SHORTEST", description="Those of the least number of links.")
    ALL = strawberry.enum_value("ALL", description="All of them, shortest first.")


@strawberry.type
class PathQueries:
    @walk_cost(2)
    @list_size(by=("first",), of=("paths",))
    @resolver(
        READ,
        "Ways by which one asset feeds another, from source to target. null: one of the two is not there at that instant.",
    )
    async def lineage_paths(
        self,
        info: Info,
        from_: Annotated[UUID, strawberry.argument(name="from", description="The asset that feeds, by uid.")],
        to: Annotated[UUID, strawberry.argument(description="The asset that is fed, by uid.")],
        mode: Annotated[PathMode, strawberry.argument(description="Which paths.")] = PathMode.SHORTEST,
        max_depth: Annotated[int, strawberry.argument(description="How many links a path may have, at most.")] = 20,
        first: Annotated[int, strawberry.argument(description="How many paths to give, at most.")] = 10,
        filter: WalkFilter = None,
        as_of: AsOf = None,
    ) -> LineagePaths | None:
        most = page_size("first", first, info.context.limits.page_size)
        query = walk_query(info, Direction.DOWNSTREAM, max_depth, filter)
        origin, goal = await asyncio.gather(*(asset_id_at(info, uid, as_of) for uid in (from_, to)))
        if origin is None or goal is None:
            return None
        if origin == goal:
            raise BadInput("from and to are the same asset. A path leads from one to another.", field="to")
        connection = await info.context.transaction.reader()
        only_shortest = mode is PathMode.SHORTEST
        found = await path.find_paths(connection, origin, goal, query, as_of, limit=most, only_shortest=only_shortest)
        info.context.cost_meter.visited += found.visited_count
        instant = as_of or connection.now
        rows = await links.links_by_id(connection, sorted({it for one in found.paths for it in one.links}), instant)
        nodes = await assets_by_id(info, {it for one in found.paths for it in one.assets}, instant, as_of)
        built = {it.link_id: it for it in await links_of(info, [it for it in rows if it is not None], as_of, nodes)}
        return LineagePaths(
            paths=[
                LineagePath(
                    assets=[nodes[it] for it in one.assets], links=[built[it] for it in one.links], confidence=one.confidence
                )
                for one in found.paths
            ],
            exhaustive=found.exhaustive,
        )

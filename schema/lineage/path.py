"""Paths by which one asset feeds another."""

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import Annotated

import strawberry

from db.associations import lineage_link as links
from db.connection import ReadConnection
from db.errors import BadInput
from db.lineage.path import Paths, find_paths
from db.lineage.walk import Direction, WalkQuery
from schema.associations.lineage_link import LineageLink, links_of
from schema.execution.context import Info
from schema.execution.loading import Batch
from schema.language.cost import list_size, walk_cost
from schema.language.fields import field, resolver
from schema.language.inputs import provided_fields
from schema.language.node_ids import AsOf
from schema.language.pagination import checked_page_size
from schema.language.references import AssetRef, asset_ref
from schema.language.scopes import READ
from schema.lazy import REFERENCE, LazyAsset, assets_by_id
from schema.lineage.walk_arguments import WalkFilter, walk_query


async def _paths_between(
    connection: ReadConnection,
    ends: Sequence[tuple[int, int]],
    query: WalkQuery,
    as_of: datetime | None,
    limit: int,
    only_shortest: bool,
) -> list[Paths]:
    return [
        await find_paths(connection, source, target, query, as_of, limit=limit, only_shortest=only_shortest)
        for source, target in ends
    ]


# With a loader, the assets of all paths of a level are read together, whenever their searches end.
PATHS_BETWEEN = Batch(_paths_between)


@strawberry.type(description="A path from one asset to another.")
class LineagePath:
    assets: list[LazyAsset] = list_size(10)(field(READ, "Assets along the path, from the source to the target, both included."))
    links: list[LineageLink] = list_size(10)(
        field(READ, "Links along the path, in order. Of several links between two assets, the one with the highest confidence.")
    )
    confidence: float = field(READ, "Product of the confidences along the path.")


@strawberry.type(description="Paths from one asset to another, shortest first.")
class LineagePaths:
    paths: list[LineagePath] = field(READ, "The paths. No asset occurs twice on a path.")
    exhaustive: bool = field(READ, "True if these are all paths of the mode within maxDepth.")


@strawberry.enum(description="Which paths to return.")
class LineagePathMode(Enum):
    SHORTEST = strawberry.enum_value("SHORTEST", description="Paths with the smallest number of links.")
    ALL = strawberry.enum_value("ALL", description="All paths, shortest first.")


@strawberry.type
class PathQueries:
    @walk_cost(*Direction, count=2)
    @list_size(by=("first",), of=("paths",))
    @resolver(
        READ,
        "Paths by which one asset feeds another. Null if one of the two does not exist at that instant.",
    )
    async def lineage_paths(
        self,
        info: Info,
        from_: Annotated[AssetRef, strawberry.argument(name="from", description="The source.")],
        to: Annotated[AssetRef, strawberry.argument(description="The target.")],
        mode: Annotated[LineagePathMode, strawberry.argument(description="Which paths to return.")] = LineagePathMode.SHORTEST,
        max_depth: Annotated[int, strawberry.argument(description="Maximum length of a path, in links.")] = 20,
        first: Annotated[int, strawberry.argument(description="Maximum number of paths.")] = 10,
        filter: WalkFilter = None,
        as_of: AsOf = None,
    ) -> LineagePaths | None:
        limit = checked_page_size("first", first, info.context.limits.page_size)
        query = await walk_query(info, Direction.DOWNSTREAM, max_depth, filter)
        refs = [asset_ref(provided_fields(it)) for it in (from_, to)]
        origin, goal = await info.context.load_all(REFERENCE, [(it, as_of) for it in refs])
        if not origin.alive or not goal.alive:
            return None
        if origin.asset_id == goal.asset_id:
            raise BadInput(f"from and to are the same asset, {goal.uid}. Name two different assets.", field="to")
        ends = origin.asset_id, goal.asset_id
        paths = await info.context.load(PATHS_BETWEEN, ends, query, as_of, limit, mode is LineagePathMode.SHORTEST)
        info.context.cost_meter.visited += paths.visited_count
        connection = await info.context.transaction.reader()
        instant = await connection.instant(as_of)
        rows = await links.links_at(connection, [(it, instant) for it in sorted({it for one in paths.paths for it in one.links})])
        nodes = await assets_by_id(info, {it for one in paths.paths for it in one.assets}, instant, as_of)
        built = {it.row.link_id: it for it in await links_of(info, [it for it in rows if it is not None], as_of, nodes)}
        return LineagePaths(
            paths=[
                LineagePath(
                    assets=[nodes[it] for it in one.assets], links=[built[it] for it in one.links], confidence=one.confidence
                )
                for one in paths.paths
            ],
            exhaustive=paths.exhaustive,
        )

"""Walks: the assets that feed an asset, and those that it feeds."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from functools import cached_property
from itertools import chain
from typing import Annotated
from uuid import UUID

import strawberry

from db.assets.node import uids_by_id
from db.associations.lineage_link import LinkRow
from db.associations.lineage_link_fields import confidence_of
from db.errors import BadInput, LimitExceeded
from db.instants import write_instant
from db.lineage import walk as walks
from db.lineage.graph import find_cycles
from db.lineage.path import best_confidences
from db.lineage.subgraph import links_of_pages, subgraphs_of_walks
from db.lineage.walk import Direction, Walk, WalkPage, WalkQuery, WalkStep, run_walks
from schema.associations.lineage_link import LineageLink, LineageType, links_of, parts_of
from schema.execution.context import Info
from schema.execution.loading import Batch, Computed
from schema.execution.selection import selects
from schema.language.asset_refs import AssetKind
from schema.language.cost import list_size
from schema.language.fields import field, resolver
from schema.language.inputs import optional_input_field, provided_fields
from schema.language.limits import Limits
from schema.language.pagination import Keyset, PageArguments, PageInfo
from schema.language.scopes import READ
from schema.lazy import IDENTITY_BY_UID, LazyAsset, assets_by_id

WALK_BY_ROOT = Batch(run_walks)
LINKS_OF_PAGE = Batch(links_of_pages)
SUBGRAPH_OF_WALK = Batch(subgraphs_of_walks)
CYCLES_OF_WALK = Computed(SUBGRAPH_OF_WALK, lambda graph, _: find_cycles(graph.sources, graph.targets))
CONFIDENCES_OF_WALK = Computed(SUBGRAPH_OF_WALK, lambda graph, walk: best_confidences(walk.root_id, graph, walk.query.direction))
UIDS_BY_ID = Batch(uids_by_id)

MaxDepth = Annotated[int, strawberry.argument(description="Maximum distance from the asset, in links.")]
WalkFirst = Annotated[int, strawberry.argument(description="Maximum number of assets on the page.")]
WalkAfter = Annotated[
    str | None,
    strawberry.argument(
        description="Cursor of the same walk. The page starts after it and is read at the instant of the cursor."
    ),
]


@strawberry.input(description="Filter of the links that a walk examines. A link matches if it matches every given field.")
class LinkFilter:
    types: list[LineageType] | None = optional_input_field("Any of these types.")
    min_confidence: float | None = optional_input_field("Lowest confidence, from 0 to 1.")
    producers: list[str] | None = optional_input_field("Any of these producers.")
    seen_since: datetime | None = optional_input_field(
        "Reported at or after this instant, and not after the instant of the walk."
    )


@strawberry.input(
    description="Filter of the assets that a walk returns. An asset matches if it matches every given field. The walk"
    " continues through the others."
)
class AssetFilter:
    kinds: list[AssetKind] | None = optional_input_field("Any of these kinds.")
    domains: list[str] | None = optional_input_field(
        "Products in any of these domains, and entities whose type belongs to one of them."
    )
    entity_types: list[str] | None = optional_input_field("Entities of any of these types.")


@strawberry.input(description="Filters of a walk: which links it examines and which assets it returns.")
class LineageFilter:
    links: LinkFilter | None = optional_input_field("The walk ignores a link that does not match.")
    assets: AssetFilter | None = optional_input_field(
        "The walk continues through an asset that does not match, but does not return it."
    )


WalkFilter = Annotated[
    LineageFilter | None, strawberry.argument(description="Which links the walk examines and which assets it returns.")
]


@strawberry.enum(description="The limit that truncated a walk, or the links among its assets.")
class TruncationReason(Enum):
    ASSETS = strawberry.enum_value("ASSETS", description="The walk visited more assets than the limit.")
    LINKS = strawberry.enum_value(
        "LINKS",
        description="The walk examined more links than the limit, or there are too many links at its assets to examine or return"
        " all.",
    )
    TIME = strawberry.enum_value(
        "TIME", description="The walk, or the search for the links among its assets, took longer than the limit."
    )


@strawberry.federation.type(
    description="A limit truncated a walk: there may be more assets or links than it returns.", shareable=True
)
class Truncation:
    reason: TruncationReason = field(READ, "The limit that was exceeded.")
    limit: int = field(
        READ,
        "Value of the setting that was exceeded. For links among the assets of a walk, up to ten times this number are examined.",
    )

    @classmethod
    def of(cls, truncation: walks.Truncation | None) -> "Truncation | None":
        if truncation is None:
            return None
        return cls(reason=TruncationReason[truncation.reason], limit=truncation.limit)


@strawberry.federation.type(description="Number of assets at one depth of a walk.", shareable=True)
class DepthCount:
    depth: int = field(READ, "Distance from the root, in links.")
    count: int = field(READ, "Number of assets.")


@strawberry.type(description="An asset that a walk returns, with its position in the walk.")
class LineageEdge:
    cursor: str = field(READ, "Cursor of the asset in this walk, at the instant of the walk.")
    node: LazyAsset = field(READ, "The asset.")
    depth: int = field(READ, "Length of the shortest path from the root, in links.")
    confidence: float = field(
        READ,
        "Confidence of its best path: the greatest product of the confidences along any path from the root, of any"
        " length, through"
        " the assets that the walk visits.",
    )
    links: list[LineageLink] = list_size(5)(
        field(READ, "Links between it and the root or the assets that come before it in the walk.")
    )


@strawberry.type(description="A page of a walk: each asset once, nearest first, in a fixed order within a depth.")
class LineageConnection:
    page_info: PageInfo = field(READ, "Position of this page in the walk.")

    root: strawberry.Private[LazyAsset]
    walk_page: strawberry.Private[WalkPage]
    keyset: strawberry.Private[Keyset]
    pinned: strawberry.Private[datetime | None]
    # the optional parts that the operation selects
    wants_cursors: strawberry.Private[bool]
    wants_confidence: strawberry.Private[bool]
    wants_links: strawberry.Private[bool]
    wants_edge_links: strawberry.Private[bool]
    wants_cycles: strawberry.Private[bool]

    @resolver(READ, "Assets of this page with their cursors, depths and confidences.")
    async def edges(self, info: Info) -> list[LineageEdge]:
        nodes = await self._nodes(info)
        confidences = await info.context.load(CONFIDENCES_OF_WALK, self.walk, self.walk.query) if self.wants_confidence else {}
        edge_links = await self._links_by_later_end(info) if self.wants_edge_links else {}
        return [
            LineageEdge(
                cursor=_cursor(self.keyset, self.walk, step) if self.wants_cursors else "",
                node=nodes[step.asset_id],
                depth=step.depth,
                confidence=confidences.get(step.asset_id, 0.0),
                links=edge_links.get(step.asset_id, []),
            )
            for step in self.steps
        ]

    @resolver(READ, "Assets of this page.")
    async def nodes(self, info: Info) -> list[LazyAsset]:
        nodes = await self._nodes(info)
        return [nodes[step.asset_id] for step in self.steps]

    @resolver(
        READ,
        "Links among the root and the assets that the walk returns. Each link comes once, on the page of the end that the walk"
        " returns later, so that all pages together hold the whole graph.",
    )
    async def links(self, info: Info) -> list[LineageLink]:
        return [link for _, link in await self._links(info)]

    @resolver(READ, "Number of assets that the walk returns. If it is truncated, there may be more.")
    def total_count(self) -> int | None:
        return self.walk.visible_count

    @list_size(10)
    @resolver(READ, "Number of assets that the walk returns at each depth.")
    def by_depth(self) -> list[DepthCount]:
        return [DepthCount(depth=depth, count=len(level)) for depth, level in enumerate(self.walk.visible_levels, 1) if level]

    @resolver(
        READ,
        "Cycles among the root and all assets that the walk visits: strongly connected components of more than one"
        " asset, by uid.",
    )
    async def cycles(self, info: Info) -> list[list[UUID]]:
        cycles = await info.context.load(CYCLES_OF_WALK, self.walk, self.walk.query)
        if not cycles:
            return []
        members = tuple(chain.from_iterable(cycles))
        loaded = await info.context.load(UIDS_BY_ID, members)
        uids = dict(zip(members, loaded, strict=True))
        return [[uids[asset_id] for asset_id in cycle] for cycle in cycles]

    @resolver(
        READ,
        "The limit that truncated the walk, or else the links, confidences or cycles that are selected: they have limits too, and"
        " may be incomplete although the walk is not. Null if all are complete within maxDepth.",
    )
    async def truncated(self, info: Info) -> Truncation | None:
        if self.walk.truncation is not None:
            return Truncation.of(self.walk.truncation)
        reason = None
        if self.wants_links or self.wants_edge_links:
            reason = (await info.context.load(LINKS_OF_PAGE, self.walk_page, self.walk.query)).truncation_reason
        if reason is None and (self.wants_confidence or self.wants_cycles):
            reason = (await info.context.load(SUBGRAPH_OF_WALK, self.walk, self.walk.query)).truncation_reason
        return None if reason is None else Truncation.of(walks.Truncation.of(reason, self.walk.query.bounds))

    @property
    def walk(self) -> Walk:
        return self.walk_page.walk

    @cached_property
    def steps(self) -> list[WalkStep]:
        return self.walk.steps(self.walk_page.start, self.walk_page.stop)

    async def _links(self, info: Info) -> list[tuple[LinkRow, LineageLink]]:
        links, nodes = await asyncio.gather(info.context.load(LINKS_OF_PAGE, self.walk_page, self.walk.query), self._nodes(info))
        # the root can be reused if it was read at the instant of the walk
        same_instant = (self.root.as_of, self.root.pinned) == (self.walk.instant, self.pinned)
        known = {**nodes, self.root.asset_id: self.root} if same_instant else nodes
        return list(zip(links.rows, await links_of(info, links.rows, self.pinned, known), strict=True))

    async def _links_by_later_end(self, info: Info) -> dict[int, list[LineageLink]]:
        indexes = {step.asset_id: index for index, step in enumerate(self.steps)}
        links: dict[int, list[LineageLink]] = defaultdict(list)
        for row, link in await self._links(info):
            links[max(row.source_id, row.target_id, key=lambda end: indexes.get(end, -1))].append(link)
        return links

    async def _nodes(self, info: Info) -> Mapping[int, LazyAsset]:
        return await assets_by_id(info, {step.asset_id for step in self.steps}, self.walk.instant, self.pinned)


async def walk_connection(
    info: Info,
    root: LazyAsset,
    direction: Direction,
    max_depth: int,
    filter: LineageFilter | None,
    first: int,
    after: str | None,
    as_of: datetime | None,
) -> LineageConnection:
    """Run a walk and return a page of it. Its cursors carry the instant, at which later pages are read."""
    pinned = as_of or root.pinned
    query = walk_query(info.context.limits, direction, max_depth, filter)
    keyset = Keyset("walk", root.uid, query, key=(datetime, int, int))
    page = keyset.page(PageArguments(first, after, None, None), info.context.limits.walk_page_size)
    step = None
    if page.after is not None:
        instant, depth, asset_id = page.after
        if pinned is not None and instant != pinned:
            raise BadInput(
                f"after is a cursor of a walk at {write_instant(instant)}, but asOf is {write_instant(pinned)}. Leave asOf out.",
                field="after",
            )
        pinned, step = instant, WalkStep(depth, asset_id)
    walk = await load_walk(info, root.asset_id, pinned, query)
    start = walk.index_after(step)
    walk_page = WalkPage(walk, start, min(start + page.size, walk.visible_count))
    steps = walk.steps(start, walk_page.stop)
    return LineageConnection(
        page_info=PageInfo(
            has_next_page=walk_page.stop < walk.visible_count,
            has_previous_page=step is not None,
            start_cursor=_cursor(keyset, walk, steps[0]) if steps else None,
            end_cursor=_cursor(keyset, walk, steps[-1]) if steps else None,
        ),
        root=root,
        walk_page=walk_page,
        keyset=keyset,
        pinned=pinned,
        wants_cursors=selects(info, "edges.cursor"),
        wants_confidence=selects(info, "edges.confidence"),
        wants_links=selects(info, "links"),
        wants_edge_links=selects(info, "edges.links"),
        wants_cycles=selects(info, "cycles"),
    )


async def load_walk(info: Info, root: int, instant: datetime | None, query: WalkQuery) -> Walk:
    """Load a walk at an instant or else now, and meter its cost."""
    info.context.cost_meter.reserve(info.context.limits.walk_bounds.assets, info.context.limits.cost)
    walk = await info.context.load(WALK_BY_ROOT, (root, instant), query)
    info.context.cost_meter.walks.add(walk)
    return walk


def walk_query(limits: Limits, direction: Direction, max_depth: int, filter: LineageFilter | None) -> WalkQuery:
    """Build the query of a walk. Check its arguments against the limits."""
    limit = limits.max_walk_depth
    if max_depth < 1:
        raise BadInput(f"maxDepth is {max_depth}. It must be at least 1.", field="maxDepth")
    if max_depth > limit:
        raise LimitExceeded(f"maxDepth is {max_depth}. At most {limit} is allowed.", field="maxDepth")
    fields = provided_fields(filter) or {}
    link_fields, asset_fields = fields.get("links") or {}, fields.get("assets") or {}
    if link_fields.get("min_confidence") is not None:
        confidence_of("minConfidence", link_fields["min_confidence"])
    return WalkQuery(
        direction,
        max_depth,
        limits.walk_bounds,
        walks.LinkFilter(**parts_of(link_fields)),
        walks.AssetFilter(**parts_of(asset_fields)),
    )


async def asset_id_at(info: Info, uid: UUID, instant: datetime | None) -> int | None:
    """Return the id of the asset with a uid, if it exists at an instant."""
    identity = await info.context.load(IDENTITY_BY_UID, uid)
    if identity is None:
        return None
    connection = await info.context.transaction.reader()
    nodes = await assets_by_id(info, {identity.asset_id}, instant or connection.now, instant)
    return identity.asset_id if nodes else None


def _cursor(keyset: Keyset, walk: Walk, step: WalkStep) -> str:
    return keyset.cursor((walk.instant, *step))

"""Walks: the assets that feed an asset, and those that it feeds."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from itertools import chain
from typing import Any, TypeVar
from uuid import UUID

import strawberry

from db.assets.node import uids_by_id
from db.associations.lineage_link import LinkRow
from db.computation import WALK_GRAPHS
from db.errors import BadInput
from db.instants import write_instant
from db.lineage import walk as walks
from db.lineage.first_page import FirstPage, WalkRoot, first_pages
from db.lineage.graph import find_cycles
from db.lineage.path import best_confidences
from db.lineage.subgraph import links_of_pages, subgraph_of_page, subgraphs_of_walks, whole_links_of_pages
from db.lineage.walk import ALL_ASSETS, Direction, Walk, WalkPage, WalkQuery, WalkStep
from schema.associations.lineage_link import LineageLink, links_of
from schema.execution.context import Info, of_selection
from schema.execution.loading import Batch, Computed, Loadable
from schema.language.cost import links_cost, list_size
from schema.language.cursors import CursorCipher
from schema.language.fields import batched, each, field, resolver
from schema.language.pagination import Keyset, PageInfo, checked_page_size
from schema.language.scopes import READ
from schema.language.walk_extent import estimate_walk
from schema.lazy import ASSETS_BY_ID, LazyAsset, assets_from_rows
from schema.lineage.truncation import LineageTruncation
from schema.lineage.walk_arguments import DEFAULT_WALK_PAGE_SIZE, LineageFilter, WalkParts, walk_query

Value = TypeVar("Value")

# Assets of pages that take so long to build that other tasks get turns meanwhile.
_LONG_PAGE = 500

FIRST_PAGE_OF_WALK = Batch(first_pages)
LINKS_OF_PAGE = Batch(links_of_pages)
WHOLE_LINKS_OF_PAGE = Batch(whole_links_of_pages)
SUBGRAPH_OF_WALK = Batch(subgraphs_of_walks)
CYCLES_OF_WALK = Computed(
    SUBGRAPH_OF_WALK,
    lambda graph, _, computation: find_cycles(graph.sources, graph.targets, computation),
    size=lambda graph: len(graph.links),
    seconds=lambda query: query.bounds.milliseconds / 1_000,
    thread=WALK_GRAPHS,
)
CONFIDENCES_OF_WALK = Computed(
    SUBGRAPH_OF_WALK,
    lambda graph, walk, computation: best_confidences(walk.root_id, graph, walk.query.direction, computation),
    size=lambda graph: len(graph.links),
    seconds=lambda query: query.bounds.milliseconds / 1_000,
    thread=WALK_GRAPHS,
)
UIDS_BY_ID = Batch(uids_by_id)


@strawberry.federation.type(description="Number of assets at one depth of a walk.", shareable=True)
class LineageDepthCount:
    depth: int = field(READ, "Distance from the root, in links.")
    count: int = field(READ, "Number of assets.")


def _write_cursor(self: "LineageEdge") -> str:
    return self.page.cursor(self.step)


@strawberry.type(description="An asset that a walk returns, with its position in the walk.")
class LineageEdge:
    page: strawberry.Private["LineageConnection"]
    step: strawberry.Private[WalkStep]
    cursor: str = field(READ, "Cursor of the asset in this walk, at the instant of the walk.", resolver=_write_cursor)
    node: LazyAsset = field(READ, "The asset.")
    depth: int = field(READ, "Length of the shortest path from the root, in links.")
    confidence: float = links_cost(per_item_of=DEFAULT_WALK_PAGE_SIZE)(
        field(
            READ,
            "Confidence of its best path: the greatest product of the confidences along any path from the root, of any"
            " length, through"
            " the assets that the walk visits.",
        )
    )
    links: list[LineageLink] = links_cost(per_item_of=DEFAULT_WALK_PAGE_SIZE)(
        list_size(5)(field(READ, "Links between it and the root or the assets that come before it in the walk."))
    )


@strawberry.type(description="A page of a walk: each asset once, nearest first, in a fixed order within a depth.")
class LineageConnection:
    root: strawberry.Private[LazyAsset]
    walk_page: strawberry.Private[WalkPage]
    # the ids of the assets of this page
    asset_ids: strawberry.Private[list[int]]
    # these assets by id, if they were read with the walk
    nodes_read: strawberry.Private[Mapping[int, LazyAsset] | None]
    after: strawberry.Private[WalkStep | None]
    pinned: strawberry.Private[datetime | None]
    parts: strawberry.Private[WalkParts]
    cursor_cipher: strawberry.Private[CursorCipher]

    @resolver(READ, "Position of this page in the walk.")
    def page_info(self) -> PageInfo:
        return PageInfo(
            has_next_page=self.walk_page.stop < self.walk.visible_count,
            has_previous_page=self.after is not None,
            write_start_cursor=(lambda: self.cursor(self.steps[0])) if self.asset_ids else None,
            write_end_cursor=(lambda: self.cursor(self.steps[-1])) if self.asset_ids else None,
        )

    @batched(READ, "Assets of this page with their cursors, depths and confidences.")
    @staticmethod
    async def edges(connections: Sequence["LineageConnection"], info: Info) -> list[list[LineageEdge]]:
        parts = connections[0].parts
        all_nodes = await _nodes_of(info, connections) if parts.assets or parts.link_ends else [{}] * len(connections)
        all_confidences: Sequence[dict[int, float]] = [{}] * len(connections)
        if parts.confidences:
            all_confidences = await _of_subgraphs(info, CONFIDENCES_OF_WALK, connections)
        all_links: Sequence[list[LineageLink]] = [[]] * len(connections)
        if parts.edge_links:
            all_links = await _links_of(info, connections, all_nodes)
        await _let_others_run(connections)
        return each(_edges, connections, all_nodes, all_confidences, all_links)

    @batched(READ, "Assets of this page.")
    @staticmethod
    async def nodes(connections: Sequence["LineageConnection"], info: Info) -> list[list[LazyAsset]]:
        return each(
            lambda connection, nodes: list(map(nodes.__getitem__, connection.asset_ids)),
            connections,
            await _nodes_of(info, connections),
        )

    @links_cost()
    @batched(
        READ,
        "Links among the root and the assets that the walk returns. Each link comes once, on the page of the end that the walk"
        " returns later, so that all pages together hold the whole graph.",
    )
    @staticmethod
    async def links(connections: Sequence["LineageConnection"], info: Info) -> list[list[LineageLink]]:
        has_ends = connections[0].parts.link_ends
        return await _links_of(info, connections, await _nodes_of(info, connections) if has_ends else [{}] * len(connections))

    @resolver(READ, "Number of assets that the walk returns. If it is truncated, there may be more.")
    def total_count(self) -> int | None:
        return self.walk.visible_count

    @list_size(10)
    @resolver(READ, "Number of assets that the walk returns at each depth.")
    def by_depth(self) -> list[LineageDepthCount]:
        return [
            LineageDepthCount(depth=depth, count=len(level)) for depth, level in enumerate(self.walk.visible_levels, 1) if level
        ]

    @links_cost()
    @batched(
        READ,
        "Cycles among the root and all assets that the walk visits: strongly connected components of more than one"
        " asset, by uid.",
    )
    @staticmethod
    async def cycles(connections: Sequence["LineageConnection"], info: Info) -> list[list[list[UUID]]]:
        all_cycles = await _of_subgraphs(info, CYCLES_OF_WALK, connections)
        members = tuple(chain.from_iterable(chain.from_iterable(all_cycles)))
        found: list[UUID] = await info.context.load(UIDS_BY_ID, members) if members else []
        uids = dict(zip(members, found, strict=True))
        return [[[uids[asset_id] for asset_id in cycle] for cycle in cycles] for cycles in all_cycles]

    @batched(
        READ,
        "The limit that truncated the walk, or else the links, confidences or cycles that are selected: they have limits too, and"
        " may be incomplete although the walk is not. Null if all are complete within maxDepth.",
    )
    @staticmethod
    async def truncated(connections: Sequence["LineageConnection"], info: Info) -> list[LineageTruncation | None]:
        parts, query = connections[0].parts, _query_of(connections)
        complete = [it for it in connections if it.walk.truncation is None]
        reasons: list[walks.TruncationReason | None] = [None] * len(complete)
        if parts.links or parts.edge_links:
            pages = await info.context.load_all(LINKS_OF_PAGE, [it.walk_page for it in complete], query)
            reasons = [page.truncation_reason for page in pages]
        if complete and (parts.confidences or parts.cycles):
            graphs = await _of_subgraphs(info, SUBGRAPH_OF_WALK, complete)
            reasons = [reason or graph.truncation_reason for reason, graph in zip(reasons, graphs, strict=True)]
        of_parts = iter(None if it is None else walks.Truncation.of(it, query.bounds) for it in reasons)
        return [LineageTruncation.of(it.walk.truncation or next(of_parts)) for it in connections]

    @property
    def walk(self) -> Walk:
        return self.walk_page.walk

    @cached_property
    def steps(self) -> list[WalkStep]:
        """The assets of this page with their depths."""
        return self.walk.steps(self.walk_page.start, self.walk_page.stop)

    @cached_property
    def _keyset(self) -> Keyset:
        return _keyset(self.cursor_cipher, self.root, self.walk.query)

    def cursor(self, step: WalkStep) -> str:
        """Return the cursor of an asset in this walk."""
        return self._keyset.cursor((self.walk.instant, *step))


def _query_of(connections: Sequence[LineageConnection]) -> WalkQuery:
    """Return the query of connections of one field, which have it in common."""
    return connections[0].walk.query


def _edges(
    connection: LineageConnection,
    nodes: Mapping[int, LazyAsset],
    confidences: Mapping[int, float],
    links: list[LineageLink],
) -> list[LineageEdge]:
    """Build the edges of a page from its optional parts."""
    links_by_index: list[list[LineageLink]] = [[] for _ in connection.asset_ids]
    if links:
        # an end that is not on the page comes before it
        indexes = {asset_id: index for index, asset_id in enumerate(connection.asset_ids)}
        index_of = indexes.get
        for link in links:
            row = link.row
            source, target = index_of(row["source_id"], -1), index_of(row["target_id"], -1)
            links_by_index[source if source > target else target].append(link)
    edges, with_nodes = [], connection.parts.assets
    for step, of_edge in zip(connection.steps, links_by_index, strict=True):
        # the constructor would take longer than all else that is done for an edge
        edge = LineageEdge.__new__(LineageEdge)
        edge.page, edge.step, edge.depth, edge.links = connection, step, step.depth, of_edge
        edge.confidence = confidences.get(step.asset_id, 0.0)
        if with_nodes:
            edge.node = nodes[step.asset_id]
        edges.append(edge)
    return edges


async def _nodes_of(info: Info, connections: Sequence[LineageConnection]) -> list[Mapping[int, LazyAsset]]:
    """Return the assets of each page, by id. Those that were not read with the walk are loaded."""
    sets = [(tuple(sorted(it.asset_ids)), it.walk.instant, it.pinned) for it in connections if it.nodes_read is None]
    loaded = iter(await info.context.load_all(ASSETS_BY_ID, sets) if sets else ())
    return [next(loaded) if it.nodes_read is None else it.nodes_read for it in connections]


async def _let_others_run(connections: Sequence[LineageConnection]) -> None:
    """Give other tasks a turn between the steps of building long pages."""
    if sum(len(it.asset_ids) for it in connections) > _LONG_PAGE:
        await asyncio.sleep(0)


async def _links_of(
    info: Info, connections: Sequence[LineageConnection], all_nodes: Sequence[Mapping[int, LazyAsset]]
) -> list[list[LineageLink]]:
    """Return the links of each page. `all_nodes` holds the assets of each page."""
    await _let_others_run(connections)
    pages = await info.context.load_all(LINKS_OF_PAGE, [it.walk_page for it in connections], _query_of(connections))
    for connection, page in zip(connections, pages, strict=True):
        info.context.cost_meter.links[LINKS_OF_PAGE, connection.walk] = len(page.rows)
    await _let_others_run(connections)
    return await asyncio.gather(
        *(_links_of_page(info, it, page.rows, nodes) for it, page, nodes in zip(connections, pages, all_nodes, strict=True))
    )


async def _of_subgraphs(
    info: Info, declared: Loadable[Value, Walk, WalkQuery], connections: Sequence[LineageConnection]
) -> Sequence[Value]:
    """Load what is found in the subgraph of each walk. Links of a page that is the whole walk, if selected, are the subgraph."""
    query = _query_of(connections)
    if connections[0].parts.links or connections[0].parts.edge_links:
        pages = [it.walk_page for it in connections]
        for page, links in zip(pages, await info.context.load_all(LINKS_OF_PAGE, pages, query), strict=True):
            if (subgraph := subgraph_of_page(page, links)) is not None:
                info.context.prime(SUBGRAPH_OF_WALK, page.walk, query, value=subgraph)
    walks_below = [it.walk for it in connections]
    for walk, graph in zip(walks_below, await info.context.load_all(SUBGRAPH_OF_WALK, walks_below, query), strict=True):
        info.context.cost_meter.links[declared, walk] = len(graph.links)
    return await info.context.load_all(declared, walks_below, query)


async def _links_of_page(
    info: Info, connection: LineageConnection, rows: list[LinkRow], nodes: Mapping[int, LazyAsset]
) -> list[LineageLink]:
    root, pinned = connection.root, connection.pinned
    if not connection.parts.link_ends:
        return LineageLink.without_ends(rows, pinned)
    # the root can be reused if it was read at the instant of the walk
    same_instant = (root.as_of, root.pinned) == (connection.walk.instant, pinned)
    known = {**nodes, root.asset_id: root} if same_instant else nodes
    return await links_of(info, rows, pinned, known)


async def walk_connections(
    info: Info,
    roots: Sequence[LazyAsset],
    direction: Direction,
    max_depth: int,
    filter: LineageFilter | None,
    first: int,
    after: str | None,
    as_of: datetime | None,
) -> list[Any]:
    """Walk from many roots and return a page of each walk. Cursors carry the instant, at which later pages are read."""
    limits, meter, cipher = info.context.limits, info.context.cost_meter, info.context.cursor_cipher
    query = await walk_query(info, direction, max_depth, filter)
    size = checked_page_size("first", first, limits.walk_page_size)
    parts = of_selection(info, WalkParts.selected)
    # a page in the middle of a walk, or one that shows only some assets, reads its assets when they are known
    with_assets = parts.assets and after is None and query.assets == ALL_ASSETS

    walk_cost = estimate_walk(query.bounds, info.context.figures, (direction,), max_depth).cost(query.bounds)
    reserved = 0

    def begin(root: LazyAsset) -> tuple[WalkRoot, WalkStep | None]:
        """Check the cursor for a root, and reserve the cost of the walk. Return the step after which the page starts, too."""
        nonlocal reserved
        pinned, step = as_of or root.pinned, None
        if after is not None:
            pinned, step = _read_cursor(_keyset(cipher, root, query).read(after, "after"), pinned)
        meter.reserve(walk_cost, limits.cost)
        reserved += walk_cost
        return WalkRoot(root.asset_id, pinned, size if with_assets else 0), step

    starts = each(begin, roots)
    # an asset that several parents have in common has one page
    asked = {it[0]: (root, it[1]) for root, it in zip(roots, starts, strict=True) if not isinstance(it, Exception)}
    found = await info.context.load_all(FIRST_PAGE_OF_WALK, list(asked), query)
    meter.settle(reserved, (it.walk for it in found))
    pages = {
        walk_root: _connection(root, walk_root.as_of, step, page, size, parts, cipher)
        for (walk_root, (root, step)), page in zip(asked.items(), found, strict=True)
    }
    return [it if isinstance(it, Exception) else pages[it[0]] for it in starts]


def _keyset(cipher: CursorCipher, root: LazyAsset, query: WalkQuery) -> Keyset:
    return Keyset(cipher, "walk", root.uid, query, key=(datetime, int, int))


def _read_cursor(cursor: tuple[Any, ...], pinned: datetime | None) -> tuple[datetime, WalkStep]:
    """Return the instant of a walk, and the step after which its page starts."""
    instant, depth, asset_id = cursor
    if pinned is not None and instant != pinned:
        raise BadInput(
            f"after is a cursor of a walk at {write_instant(instant)}, but asOf is {write_instant(pinned)}. Leave asOf out.",
            field="after",
        )
    return instant, WalkStep(depth, asset_id)


def _connection(
    root: LazyAsset,
    pinned: datetime | None,
    after: WalkStep | None,
    found: FirstPage,
    size: int,
    parts: WalkParts,
    cipher: CursorCipher,
) -> LineageConnection:
    """Build the page of a walk."""
    walk, rows = found
    start = walk.index_after(after)
    page = WalkPage(walk, start, min(start + size, walk.visible_count))
    asset_ids, nodes_read = page.asset_ids, None
    if parts.assets and rows.keys() >= set(asset_ids):
        nodes_read = dict(zip(asset_ids, assets_from_rows(map(rows.__getitem__, asset_ids), pinned), strict=True))
    return LineageConnection(
        root=root,
        walk_page=page,
        asset_ids=asset_ids,
        nodes_read=nodes_read,
        after=after,
        pinned=pinned,
        parts=parts,
        cursor_cipher=cipher,
    )


async def load_walk(info: Info, root: int, instant: datetime | None, query: WalkQuery) -> Walk:
    """Load a walk at an instant or else now, and meter its cost."""
    meter = info.context.cost_meter
    reserved = estimate_walk(query.bounds, info.context.figures, (query.direction,), query.max_depth).cost(query.bounds)
    meter.reserve(reserved, info.context.limits.cost)
    found = await info.context.load(FIRST_PAGE_OF_WALK, WalkRoot(root, instant, 0), query)
    meter.settle(reserved, [found.walk])
    return found.walk

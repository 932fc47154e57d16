"""Lineage: all that feeds an asset and all that it feeds, the paths between two, and how both differ between two instants."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from functools import cached_property
from itertools import chain
from typing import Annotated, NamedTuple
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
from db.lineage.walk import Direction, Walk, WalkPage, WalkQuery, WalkStep
from schema.associations.lineage_link import LineageLink, LineageType, links_of, parts_of
from schema.execution.context import Info
from schema.execution.loading import Batch, Computed
from schema.execution.selection import selects
from schema.language.asset_refs import AssetKind
from schema.language.cost import list_size, walk_cost
from schema.language.inputs import optional_input_field, provided_fields
from schema.language.pagination import Keyset, PageInfo
from schema.language.scopes import READ, field, resolver
from schema.lazy import IDENTITY_BY_UID, LazyAsset, assets_by_id

WALK_BY_ROOT = Batch(walks.run_walks)
LINKS_OF_PAGE = Batch(links_of_pages)
SUBGRAPH_OF_WALK = Batch(subgraphs_of_walks)
CYCLES_OF_WALK = Computed(SUBGRAPH_OF_WALK, lambda graph, _: find_cycles(graph.sources, graph.targets))
CONFIDENCES_OF_WALK = Computed(SUBGRAPH_OF_WALK, lambda graph, walk: best_confidences(walk.root_id, graph, walk.query.direction))
UIDS_BY_ID = Batch(uids_by_id)

MaxDepth = Annotated[int, strawberry.argument(description="How many links away to go, at most.")]
WalkFirst = Annotated[int, strawberry.argument(description="How many assets to give.")]
WalkAfter = Annotated[
    str | None,
    strawberry.argument(description="Give what comes after this cursor of the same walk, read at the same instant as that page."),
]


@strawberry.input(description="Which links a walk takes: those that match every part given. It does not go along the others.")
class LinkFilter:
    types: list[LineageType] | None = optional_input_field("Of any of these types.")
    min_confidence: float | None = optional_input_field("At least as sure as this.")
    producers: list[str] | None = optional_input_field("By the word of any of these.")
    seen_since: datetime | None = optional_input_field("Said to be so at this instant or later, and not after that of the walk.")


@strawberry.input(description="Which assets are given: those that match every part given. A walk passes through the others.")
class AssetFilter:
    kinds: list[AssetKind] | None = optional_input_field("Of any of these kinds.")
    domains: list[str] | None = optional_input_field(
        "Products in any of these domains, and entities of a type that belongs to one."
    )
    entity_types: list[str] | None = optional_input_field("Entities of any of these types.")


@strawberry.input(description="What a walk goes along, and what of it is given.")
class LineageFilter:
    links: LinkFilter | None = optional_input_field("Prunes: the walk does not take a link that this leaves out.")
    assets: AssetFilter | None = optional_input_field("Hides: the walk passes through an asset that this leaves out.")


WalkFilter = Annotated[LineageFilter | None, strawberry.argument(description="What the walk takes, and what of it is given.")]


@strawberry.enum(description="Which way lineage is followed.")
class LineageDirection(Enum):
    UPSTREAM = strawberry.enum_value("UPSTREAM", description="Towards what feeds.")
    DOWNSTREAM = strawberry.enum_value("DOWNSTREAM", description="Towards what is fed.")


@strawberry.enum(description="What cut a walk short.")
class TruncationReason(Enum):
    ASSETS = strawberry.enum_value("ASSETS", description="More assets are reached than a walk gives.")
    LINKS = strawberry.enum_value("LINKS", description="More links are there than a walk looks at.")
    TIME = strawberry.enum_value("TIME", description="It took longer than a walk may.")


@strawberry.federation.type(description="That a walk was cut short: there may be more than it gives.", shareable=True)
class Truncation:
    reason: TruncationReason = field(READ, "Which bound was met.")
    limit: int = field(READ, "That bound: so many assets or links, or milliseconds.")

    @classmethod
    def of(cls, cut: walks.Truncation | None) -> "Truncation | None":
        return None if cut is None else cls(reason=TruncationReason[cut.reason], limit=cut.limit)


@strawberry.federation.type(description="How many assets are reached at a depth.", shareable=True)
class DepthCount:
    depth: int = field(READ, "How many links away.")
    count: int = field(READ, "How many assets.")


@strawberry.type(description="An asset that a walk reaches.")
class LineageEdge:
    cursor: str = field(READ, "Its place in the walk, at the instant of the walk.")
    node: LazyAsset = field(READ, "The asset.")
    depth: int = field(READ, "How many links it is away, on the shortest path.")
    confidence: float = field(
        READ,
        "How sure it is: the confidence of its most trusted path, which is the greatest product of confidences along one, however"
        " long, among all that is reached.",
    )
    links: list[LineageLink] = list_size(5)(
        field(READ, "The links between it and what comes before it: the asset that the walk began at, and those given earlier.")
    )


@strawberry.type(
    description="A page of what a walk reaches: each asset once, nearest first, and those of one depth always in the same order."
)
class LineageConnection:
    page_info: PageInfo = field(READ, "Where this page stands in the walk.")

    root: strawberry.Private[LazyAsset]
    stretch: strawberry.Private[WalkPage]
    keyset: strawberry.Private[Keyset]
    pinned: strawberry.Private[datetime | None]
    # what is selected of it
    turns: strawberry.Private[bool]
    trusts: strawberry.Private[bool]
    draws: strawberry.Private[bool]
    draws_edges: strawberry.Private[bool]
    circles: strawberry.Private[bool]

    @resolver(READ, "The assets of this page with their places, depths and confidences.")
    async def edges(self, info: Info) -> list[LineageEdge]:
        nodes = await self._nodes(info)
        trusted = await info.context.load(CONFIDENCES_OF_WALK, self.walk, self.walk.query) if self.trusts else {}
        drawn = await self._links_by_later_end(info) if self.draws_edges else {}
        return [
            LineageEdge(
                cursor=_cursor(self.keyset, self.walk, step) if self.turns else "",
                node=nodes[step.asset_id],
                depth=step.depth,
                confidence=trusted.get(step.asset_id, 0.0),
                links=drawn.get(step.asset_id, []),
            )
            for step in self.steps
        ]

    @resolver(READ, "The assets of this page.")
    async def nodes(self, info: Info) -> list[LazyAsset]:
        nodes = await self._nodes(info)
        return [nodes[step.asset_id] for step in self.steps]

    @resolver(
        READ,
        "The links among the asset that the walk began at and those that it gives. Each comes once, with the page of its later"
        " end: whoever draws the graph page by page draws all of it.",
    )
    async def links(self, info: Info) -> list[LineageLink]:
        return [link for _, link in await self._links(info)]

    @resolver(READ, "How many assets the walk gives in all; where it is truncated there are more.")
    def total_count(self) -> int | None:
        return self.walk.visible_count

    @list_size(10)
    @resolver(READ, "How many assets the walk gives at each depth.")
    def by_depth(self) -> list[DepthCount]:
        return [DepthCount(depth=depth, count=len(level)) for depth, level in enumerate(self.walk.visible_levels, 1) if level]

    @resolver(
        READ,
        "What goes round in circles among all that is reached, the root included: strongly connected components of more than one"
        " asset, by uid.",
    )
    async def cycles(self, info: Info) -> list[list[UUID]]:
        found = await info.context.load(CYCLES_OF_WALK, self.walk, self.walk.query)
        if not found:
            return []
        listed = await info.context.load(UIDS_BY_ID, tuple(chain.from_iterable(found)))
        uids = iter(listed)
        return [[next(uids) for _ in cycle] for cycle in found]

    @resolver(READ, "What cut the walk short; null: nothing did, and it is complete within maxDepth.")
    async def truncated(self, info: Info) -> Truncation | None:
        if self.walk.truncation is not None:
            return Truncation.of(self.walk.truncation)
        # what was selected beside this may have met a bound, though the walk did not
        cut = None
        if self.draws or self.draws_edges:
            cut = (await info.context.load(LINKS_OF_PAGE, self.stretch, self.walk.query)).truncation_reason
        if cut is None and (self.trusts or self.circles):
            cut = (await info.context.load(SUBGRAPH_OF_WALK, self.walk, self.walk.query)).truncation_reason
        return None if cut is None else Truncation.of(walks.Truncation.of(cut, self.walk.query.bounds))

    @property
    def walk(self) -> Walk:
        return self.stretch.walk

    @cached_property
    def steps(self) -> list[WalkStep]:
        return self.walk.steps(self.stretch.start, self.stretch.stop)

    async def _links(self, info: Info) -> list[tuple[LinkRow, LineageLink]]:
        found, nodes = await asyncio.gather(info.context.load(LINKS_OF_PAGE, self.stretch, self.walk.query), self._nodes(info))
        # the root is known, if it was read at the instant of the walk
        same = (self.root.as_of, self.root.pinned) == (self.walk.instant, self.pinned)
        known = {**nodes, self.root.asset_id: self.root} if same else nodes
        return list(zip(found.rows, await links_of(info, found.rows, self.pinned, known), strict=True))

    async def _links_by_later_end(self, info: Info) -> dict[int, list[LineageLink]]:
        places = {step.asset_id: place for place, step in enumerate(self.steps)}
        drawn: dict[int, list[LineageLink]] = defaultdict(list)
        for row, link in await self._links(info):
            drawn[max(row.source_id, row.target_id, key=lambda end: places.get(end, -1))].append(link)
        return drawn

    async def _nodes(self, info: Info) -> Mapping[int, LazyAsset]:
        return await assets_by_id(info, {step.asset_id for step in self.steps}, self.walk.instant, self.pinned)


@strawberry.type(description="A link that holds at two instants, and is not the same.")
class LineageLinkChange:
    before: LineageLink = field(READ, "What it was at the earlier one.")
    after: LineageLink = field(READ, "What it is at the later one.")


# What differs is seldom more; nobody can say beforehand how much it is.
several = list_size(100)


@strawberry.type(description="How what is reached from one asset differs between two instants.")
class LineageDiff:
    from_: datetime = field(READ, "The earlier instant.", name="from")
    to: datetime = field(READ, "The later one.")
    added_assets: list[LazyAsset] = several(field(READ, "What is reached at the other instant only, as it is then."))
    removed_assets: list[LazyAsset] = several(field(READ, "What is reached at the one instant only, as it was then."))
    added_links: list[LineageLink] = several(field(READ, "Links among the root and what is reached at the other instant only."))
    removed_links: list[LineageLink] = several(field(READ, "Links among the root and what is reached at the one instant only."))
    changed_links: list[LineageLinkChange] = several(field(READ, "Links that hold at both and are not the same."))
    truncated: Truncation | None = field(
        READ, "Whether a bound cut one of the walks, so that some of this may be no difference; null: it is exact."
    )


@strawberry.type
class LineageQueries:
    @walk_cost(2)
    @resolver(READ, "How what is reached from an asset differs between two instants. null: it was there at neither.")
    async def lineage_diff(
        self,
        info: Info,
        uid: Annotated[UUID, strawberry.argument(description="The asset to walk from.")],
        direction: Annotated[LineageDirection, strawberry.argument(description="Which way to walk.")],
        from_: Annotated[datetime, strawberry.argument(name="from", description="The earlier instant.")],
        to: Annotated[datetime, strawberry.argument(description="The later one.")],
        max_depth: MaxDepth = 5,
        filter: WalkFilter = None,
    ) -> LineageDiff | None:
        if to <= from_:
            raise BadInput("to has to lie after from.", field="to")
        query = walk_query(info, Direction(direction.name), max_depth, filter)
        roots = await asyncio.gather(*(asset_id_at(info, uid, instant) for instant in (from_, to)))
        root = roots[0] or roots[1]
        if root is None:
            return None
        before, after = await asyncio.gather(*(_walk_snapshot(info, root, instant, query) for instant in (from_, to)))
        removed = await assets_by_id(info, before.assets - after.assets, from_, from_)
        added = await assets_by_id(info, after.assets - before.assets, to, to)
        links_before = {it.link_id: it for it in await links_of(info, list(before.links.values()), from_, removed)}
        links_after = {it.link_id: it for it in await links_of(info, list(after.links.values()), to, added)}
        return LineageDiff(
            from_=from_,
            to=to,
            added_assets=[added[it] for it in sorted(added)],
            removed_assets=[removed[it] for it in sorted(removed)],
            added_links=[it for link_id, it in links_after.items() if link_id not in links_before],
            removed_links=[it for link_id, it in links_before.items() if link_id not in links_after],
            changed_links=[
                LineageLinkChange(before=it, after=links_after[link_id])
                for link_id, it in links_before.items()
                if link_id in links_after and before.links[link_id].content != after.links[link_id].content
            ],
            truncated=Truncation.of(before.truncated or after.truncated),
        )


class _WalkSnapshot(NamedTuple):
    """What a walk shows, the links among it, and what cut either."""

    assets: set[int]
    links: dict[int, LinkRow]
    truncated: walks.Truncation | None


async def _walk_snapshot(info: Info, root: int, instant: datetime, query: WalkQuery) -> _WalkSnapshot:
    walk = await _run_walk(info, root, instant, query)
    found = await info.context.load(LINKS_OF_PAGE, WalkPage(walk, 0, walk.visible_count), query)
    cut = None if found.truncation_reason is None else walks.Truncation.of(found.truncation_reason, query.bounds)
    return _WalkSnapshot(
        set(chain.from_iterable(walk.visible_levels)), {it.link_id: it for it in found.rows}, walk.truncation or cut
    )


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
    """A page of a walk. Its cursors pin the instant, and later pages are read at that."""
    pinned = as_of or root.pinned
    query = walk_query(info, direction, max_depth, filter)
    keyset = Keyset("walk", root.uid, query, key=(datetime, int, int))
    largest = info.context.limits.walk_page_size
    page = keyset.page(first=first, after=after, last=None, before=None, largest=largest)
    step = None
    if page.after is not None:
        instant, *place = page.after
        if pinned is not None and instant != pinned:
            raise BadInput(
                f"after is the cursor of a walk at {write_instant(instant)}, another instant than asOf.", field="after"
            )
        pinned, step = instant, WalkStep(*place)
    walk = await _run_walk(info, root.asset_id, pinned, query)
    start = walk.index_after(step)
    stretch = WalkPage(walk, start, min(start + page.size, walk.visible_count))
    steps = walk.steps(start, stretch.stop)
    return LineageConnection(
        page_info=PageInfo(
            has_next_page=stretch.stop < walk.visible_count,
            has_previous_page=step is not None,
            start_cursor=_cursor(keyset, walk, steps[0]) if steps else None,
            end_cursor=_cursor(keyset, walk, steps[-1]) if steps else None,
        ),
        root=root,
        stretch=stretch,
        keyset=keyset,
        pinned=pinned,
        turns=selects(info, "edges.cursor"),
        trusts=selects(info, "edges.confidence"),
        draws=selects(info, "links"),
        draws_edges=selects(info, "edges.links"),
        circles=selects(info, "cycles"),
    )


async def _run_walk(info: Info, root: int, instant: datetime | None, query: WalkQuery) -> Walk:
    info.context.cost_meter.reserve(info.context.limits.walk.assets, info.context.limits.cost)
    walk = await info.context.load(WALK_BY_ROOT, (root, instant), query)
    info.context.cost_meter.walks.add(walk)
    return walk


def walk_query(info: Info, direction: Direction, max_depth: int, filter: LineageFilter | None) -> WalkQuery:
    """What is asked of a walk, within what may be asked."""
    deepest = info.context.limits.walk_depth
    if max_depth < 1:
        raise BadInput(f"maxDepth is {max_depth}. Go at least 1 link far.", field="maxDepth")
    if max_depth > deepest:
        raise LimitExceeded(f"maxDepth is {max_depth}. At most {deepest} links are gone.", field="maxDepth")
    asked = provided_fields(filter) or {}
    of_links, of_assets = asked.get("links") or {}, asked.get("assets") or {}
    if of_links.get("min_confidence") is not None:
        confidence_of("minConfidence", of_links["min_confidence"])
    return WalkQuery(
        direction,
        max_depth,
        info.context.limits.walk,
        walks.LinkFilter(**parts_of(of_links)),
        walks.AssetFilter(**parts_of(of_assets)),
    )


async def asset_id_at(info: Info, uid: UUID, instant: datetime | None) -> int | None:
    """The asset with this uid, if it is there at that instant."""
    identity = await info.context.load(IDENTITY_BY_UID, uid)
    if identity is None:
        return None
    connection = await info.context.transaction.reader()
    nodes = await assets_by_id(info, {identity.asset_id}, instant or connection.now, instant)
    return identity.asset_id if nodes else None


def _cursor(keyset: Keyset, walk: Walk, step: WalkStep) -> str:
    return keyset.cursor((walk.instant, *step))

"""Lineage: all that feeds an asset and all that it feeds, the paths between two, and how both differ between two instants."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar
from uuid import UUID

import strawberry

from db import lineage, path
from db import link as links
from db.errors import BadInput, LimitExceeded
from db.graph import components
from db.instants import write_instant
from db.lineage import Direction, Graph, Step, Stretch, Walk, WalkQuery
from db.link import LinkRow
from db.link_fields import confidence_of
from schema.context import Info
from schema.link import AnyAsset, LineageLink, LineageType, links_of
from schema.node import AsOf
from schema.pagination import Keyset, PageInfo
from schema.ref import AssetKind
from schema.scope import READ, field, resolver
from schema.selection import selects
from schema.writing import given, optional

if TYPE_CHECKING:
    from schema.asset import Asset

T = TypeVar("T")

# Graphs of more links than this are gone through beside the event loop.
LARGE = 2_000

MaxDepth = Annotated[int, strawberry.argument(description="How many links away to go, at most.")]
WalkFirst = Annotated[int, strawberry.argument(description="How many assets to give.")]
WalkAfter = Annotated[
    str | None,
    strawberry.argument(description="Give what comes after this cursor of the same walk, read at the same instant as that page."),
]


@strawberry.input(description="Which links a walk takes: those that match every part given. It does not go along the others.")
class LinkFilter:
    types: list[LineageType] | None = optional("Of any of these types.")
    min_confidence: float | None = optional("At least as sure as this.")
    producers: list[str] | None = optional("By the word of any of these.")
    seen_since: datetime | None = optional("Said to be so at this instant or later, and not after that of the walk.")


@strawberry.input(description="Which assets are given: those that match every part given. A walk passes through the others.")
class AssetFilter:
    kinds: list[AssetKind] | None = optional("Of any of these kinds.")
    domains: list[str] | None = optional("Products in any of these domains, and entities of a type that belongs to one.")
    entity_types: list[str] | None = optional("Entities of any of these types.")


@strawberry.input(description="What a walk goes along, and what of it is given.")
class LineageFilter:
    links: LinkFilter | None = optional("Prunes: the walk does not take a link that this leaves out.")
    assets: AssetFilter | None = optional("Hides: the walk passes through an asset that this leaves out.")


WalkFilter = Annotated[LineageFilter | None, strawberry.argument(description="What the walk takes, and what of it is given.")]


@strawberry.enum(description="Which way lineage is followed.")
class LineageDirection(Enum):
    UPSTREAM = strawberry.enum_value("UPSTREAM", description="Towards what feeds.")
    DOWNSTREAM = strawberry.enum_value("DOWNSTREAM", description="Towards what is fed.")


@strawberry.enum(description="What cut a walk.")
class TruncationReason(Enum):
    ASSETS = strawberry.enum_value("ASSETS", description="More assets are reached than a walk gives.")
    LINKS = strawberry.enum_value("LINKS", description="More links are there than a walk looks at.")
    TIME = strawberry.enum_value("TIME", description="It took longer than a walk may.")


@strawberry.type(description="That an answer is not all there is.")
class Truncation:
    reason: TruncationReason = field(READ, "Which bound was met.")
    limit: int = field(READ, "That bound: so many assets or links, or milliseconds.")

    @classmethod
    def of(cls, cut: lineage.Truncation | None) -> "Truncation | None":
        return None if cut is None else cls(reason=TruncationReason[cut.reason], limit=cut.limit)


@strawberry.type(description="How many assets are reached at a depth.")
class DepthCount:
    depth: int = field(READ, "How many links away.")
    count: int = field(READ, "How many assets.")


@strawberry.type(description="An asset that a walk reaches.")
class LineageEdge:
    cursor: str = field(READ, "Its place in the walk, at the instant of the walk.")
    node: AnyAsset = field(READ, "The asset.")
    depth: int = field(READ, "How many links it is away, on the shortest path.")
    confidence: float = field(READ, "That of its most trusted path: the greatest product of the confidences along one.")


@strawberry.type(description="What a walk reaches: each asset once, nearest first, then in one order. A page of it.")
class LineageConnection:
    page_info: PageInfo = field(READ, "Where this page stands in the walk.")

    root: strawberry.Private["Asset"]
    stretch: strawberry.Private[Stretch]
    keyset: strawberry.Private[Keyset]
    pinned: strawberry.Private[datetime | None]
    # what is selected of it
    turns: strawberry.Private[bool]
    trusts: strawberry.Private[bool]
    draws: strawberry.Private[bool]
    circles: strawberry.Private[bool]

    @resolver(READ, "The assets of this page with their places, depths and confidences.")
    async def edges(self, info: Info) -> list[LineageEdge]:
        nodes = await self._nodes(info)
        trusted = await self._trusted(info) if self.trusts else {}
        return [
            LineageEdge(
                cursor=_cursor(self.keyset, self.walk, step) if self.turns else "",
                node=nodes[step.asset_id],
                depth=step.depth,
                confidence=trusted.get(step.asset_id, 0.0),
            )
            for step in self.steps
        ]

    @resolver(READ, "The assets of this page.")
    async def nodes(self, info: Info) -> list[AnyAsset]:
        nodes = await self._nodes(info)
        return [nodes[step.asset_id] for step in self.steps]

    @resolver(
        READ,
        "The links among the asset that the walk began at and those that it gives. Each comes once, with the page of its later"
        " end: whoever draws the graph page by page draws all of it.",
    )
    async def links(self, info: Info) -> list[LineageLink]:
        found, nodes = await asyncio.gather(
            info.context.loaders.links_of_stretch.load((self.stretch, self.walk.query)), self._nodes(info)
        )
        # the root is known, if it was read at the instant of the walk
        same = (self.root.as_of, self.root.pinned) == (self.walk.instant, self.pinned)
        return await links_of(info, found.rows, self.pinned, {**nodes, self.root.asset_id: self.root} if same else nodes)

    @resolver(READ, "How many assets the walk gives in all; where it is truncated there are more.")
    def total_count(self) -> int | None:
        return len(self.walk.steps)

    @resolver(READ, "How many assets the walk gives at each depth.")
    def by_depth(self) -> list[DepthCount]:
        return [DepthCount(depth=depth, count=len(level)) for depth, level in enumerate(self.walk.shown, 1) if level]

    @resolver(
        READ,
        "What goes round in circles among all that is reached, the root included: strongly connected components of more than one"
        " asset, by uid.",
    )
    async def cycles(self, info: Info) -> list[list[UUID]]:
        graph = await self._graph(info)
        found = await _beside(len(graph.links), components, graph.sources, graph.targets)
        uids = await asyncio.gather(*(info.context.loaders.uid_by_asset.load((it,)) for cycle in found for it in cycle))
        named = iter(uids)
        return [[next(named) for _ in cycle] for cycle in found]

    @resolver(READ, "Whether something cut the answer; null: it is complete within maxDepth.")
    async def truncated(self, info: Info) -> Truncation | None:
        if self.walk.truncated is not None:
            return Truncation.of(self.walk.truncated)
        # what was selected beside this may have met the bound of links, though the walk did not
        complete = True
        if self.draws:
            complete = (await info.context.loaders.links_of_stretch.load((self.stretch, self.walk.query))).complete
        if self.trusts or self.circles:
            complete = complete and (await self._graph(info)).complete
        return None if complete else Truncation.of(lineage.Truncation(lineage.Cut.LINKS, self.walk.query.bounds.links))

    @property
    def walk(self) -> Walk:
        return self.stretch.walk

    @cached_property
    def steps(self) -> list[Step]:
        return self.walk.steps[self.stretch.start : self.stretch.stop]

    async def _nodes(self, info: Info) -> "Mapping[int, Asset]":
        return await _nodes(info, {step.asset_id for step in self.steps}, self.walk.instant, self.pinned)

    async def _graph(self, info: Info) -> Graph:
        return await info.context.loaders.graph_of_walk.load((self.walk, self.walk.query))

    async def _trusted(self, info: Info) -> Mapping[int, float]:
        graph = await self._graph(info)
        return await _beside(len(graph.links), path.most_trusted, self.walk.root_id, graph, self.walk.query.direction)


@strawberry.type(description="A way from one asset to another.")
class LineagePath:
    assets: list[AnyAsset] = field(READ, "What lies on it, from what feeds to what is fed, both ends included.")
    links: list[LineageLink] = field(READ, "The links along it, in their order. Of several between two assets, the most trusted.")
    confidence: float = field(READ, "The product of the confidences along it.")


@strawberry.type(description="Ways from one asset to another, shortest first.")
class LineagePaths:
    paths: list[LineagePath] = field(READ, "The ways. No asset comes twice on one.")
    exhaustive: bool = field(READ, "Whether these are all there are within maxDepth, or of the shortest, all those.")


@strawberry.enum(description="Which paths.")
class PathMode(Enum):
    SHORTEST = strawberry.enum_value("SHORTEST", description="Those of the least number of links.")
    ALL = strawberry.enum_value("ALL", description="All of them, shortest first.")


@strawberry.type(description="A link that holds at two instants, and is not the same.")
class LineageLinkChange:
    before: LineageLink = field(READ, "What it was at the earlier one.")
    after: LineageLink = field(READ, "What it is at the later one.")


@strawberry.type(description="How what is reached from one asset differs between two instants.")
class LineageDiff:
    from_: datetime = field(READ, "The one instant.", name="from")
    to: datetime = field(READ, "The other.")
    added_assets: list[AnyAsset] = field(READ, "What is reached at the other instant only, as it is then.")
    removed_assets: list[AnyAsset] = field(READ, "What is reached at the one instant only, as it was then.")
    added_links: list[LineageLink] = field(READ, "Links among the root and what is reached at the other instant only.")
    removed_links: list[LineageLink] = field(READ, "Links among the root and what is reached at the one instant only.")
    changed_links: list[LineageLinkChange] = field(READ, "Links that hold at both and are not the same.")
    truncated: Truncation | None = field(READ, "Whether something cut a walk; null: complete within maxDepth.")


@strawberry.type
class LineageQueries:
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
        largest = info.context.limits.page_size
        if first < 1:
            raise BadInput(f"first is {first}. Ask for at least 1.", field="first")
        if first > largest:
            raise LimitExceeded(f"first is {first}. At most {largest} paths come at once.", field="first")
        query = _query(info, Direction.DOWNSTREAM, max_depth, filter, as_of)
        origin, goal = await _living(info, from_, as_of), await _living(info, to, as_of)
        if origin is None or goal is None:
            return None
        if origin == goal:
            raise BadInput("from and to are the same asset. A path leads from one to another.", field="to")
        connection = await info.context.transaction.reader()
        found = await path.find_paths(connection, origin, goal, query, most=first, only_shortest=mode is PathMode.SHORTEST)
        instant = as_of or connection.now
        rows = await links.links_by_id(connection, sorted({it for one in found.paths for it in one.links}), instant)
        nodes = await _nodes(info, {it for one in found.paths for it in one.assets}, instant, as_of)
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

    @resolver(READ, "How what is reached from an asset differs between two instants. null: it was there at neither.")
    async def lineage_diff(
        self,
        info: Info,
        uid: Annotated[UUID, strawberry.argument(description="The asset to walk from.")],
        direction: Annotated[LineageDirection, strawberry.argument(description="Which way to walk.")],
        from_: Annotated[datetime, strawberry.argument(name="from", description="The one instant.")],
        to: Annotated[datetime, strawberry.argument(description="The other.")],
        max_depth: MaxDepth = 5,
        filter: WalkFilter = None,
    ) -> LineageDiff | None:
        if to <= from_:
            raise BadInput("to has to lie after from.", field="to")
        queries = [_query(info, Direction(direction.name), max_depth, filter, instant) for instant in (from_, to)]
        roots = [await _living(info, uid, instant) for instant in (from_, to)]
        root = roots[0] or roots[1]
        if root is None:
            return None
        before, after = [await _seen(info, root, query) for query in queries]
        removed = await _nodes(info, before.assets - after.assets, from_, from_)
        added = await _nodes(info, after.assets - before.assets, to, to)
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


class _Seen(NamedTuple):
    """What a walk shows, the links among it, and what cut either."""

    assets: set[int]
    links: dict[int, LinkRow]
    truncated: lineage.Truncation | None


async def _seen(info: Info, root: int, query: WalkQuery) -> _Seen:
    walk = await info.context.loaders.walk_by_root.load((root, query))
    found = await info.context.loaders.links_of_stretch.load((Stretch(walk, 0, len(walk.steps)), query))
    cut = None if found.complete else lineage.Truncation(lineage.Cut.LINKS, query.bounds.links)
    return _Seen({it.asset_id for it in walk.steps}, {it.link_id: it for it in found.rows}, walk.truncated or cut)


async def walk_connection(
    info: Info,
    root: "Asset",
    direction: Direction,
    max_depth: int,
    filter: LineageFilter | None,
    first: int,
    after: str | None,
    as_of: datetime | None,
) -> LineageConnection:
    """A page of a walk. Its cursors pin the instant, and later pages are read at that."""
    pinned = as_of or root.pinned
    query = _query(info, direction, max_depth, filter, None)
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
        pinned, step = instant, Step(*place)
    walk = await info.context.loaders.walk_by_root.load((root.asset_id, replace(query, as_of=pinned)))
    start = walk.after(step)
    stretch = Stretch(walk, start, min(start + page.size, len(walk.steps)))
    steps = walk.steps[start : stretch.stop]
    return LineageConnection(
        page_info=PageInfo(
            has_next_page=stretch.stop < len(walk.steps),
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
        circles=selects(info, "cycles"),
    )


def _query(info: Info, direction: Direction, max_depth: int, filter: LineageFilter | None, as_of: datetime | None) -> WalkQuery:
    """What is asked of a walk, within what may be asked."""
    deepest = info.context.limits.walk_depth
    if max_depth < 1:
        raise BadInput(f"maxDepth is {max_depth}. Go at least 1 link far.", field="maxDepth")
    if max_depth > deepest:
        raise LimitExceeded(f"maxDepth is {max_depth}. At most {deepest} links are gone.", field="maxDepth")
    asked = given(filter) or {}
    of_links, of_assets = asked.get("links") or {}, asked.get("assets") or {}
    if of_links.get("min_confidence") is not None:
        confidence_of("minConfidence", of_links["min_confidence"])
    return WalkQuery(
        direction,
        max_depth,
        info.context.limits.walk,
        lineage.LinkFilter(**_parts(of_links)),
        lineage.AssetFilter(**_parts(of_assets)),
        as_of,
    )


def _parts(asked: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(part) if isinstance(part, list) else part for name, part in asked.items()}


async def _living(info: Info, uid: UUID, instant: datetime | None) -> int | None:
    """The asset with this uid, if it is there at that instant."""
    identity = await info.context.loaders.identity_by_uid.load((uid,))
    if identity is None:
        return None
    connection = await info.context.transaction.reader()
    nodes = await _nodes(info, {identity.asset_id}, instant or connection.now, instant)
    return identity.asset_id if nodes else None


async def _nodes(info: Info, ids: Collection[int], instant: datetime, pinned: datetime | None) -> "Mapping[int, Asset]":
    return await info.context.loaders.nodes_by_id.load((tuple(sorted(ids)), instant, pinned)) if ids else {}


def _cursor(keyset: Keyset, walk: Walk, step: Step) -> str:
    return keyset.cursor((walk.instant, *step))


async def _beside(size: int, work: Callable[..., T], *arguments: Any) -> T:
    """Do work: a large one in a thread, so that other requests are not kept waiting."""
    return await asyncio.to_thread(work, *arguments) if size > LARGE else work(*arguments)

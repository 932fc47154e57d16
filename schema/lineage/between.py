"""Lineage between two instants: the assets and links that a walk reaches at any instant of a window, and when."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, NamedTuple

import strawberry

from db.assets.reference import ResolvedAsset
from db.associations.lineage_link import links_at
from db.errors import BadInput
from db.instants import MICROSECOND, write_instant
from db.lineage.periods import Period
from db.lineage.subgraph import count_links
from db.lineage.walk import Direction, WalkQuery
from db.lineage.window import Reached, ReachedAsset, WalkWindow, reached_in_windows
from schema.associations.lineage_link import LineageLink
from schema.execution.context import Info, of_selection, selects
from schema.execution.loading import Batch
from schema.language.cost import links_cost, list_size, walk_cost
from schema.language.fields import field, resolver
from schema.language.inputs import provided_fields
from schema.language.pagination import Keyset, PageInfo, checked_page_size
from schema.language.references import AssetRef, asset_ref
from schema.language.scopes import READ
from schema.language.walk_extent import estimate_walk
from schema.lazy import ASSETS_BY_ID, REFERENCE_IN_WINDOW, LazyAsset
from schema.lineage.diff import LineageDirection
from schema.lineage.truncation import LineageTruncation
from schema.lineage.walk_arguments import DEFAULT_WALK_PAGE_SIZE, MaxDepth, WalkFilter, WalkFirst, walk_query

REACHED_IN_WINDOW = Batch(reached_in_windows)
LINK_AT = Batch(links_at)

# Assumed number of periods. They are rarely more, and not known before the operation runs.
list_of_periods = list_size(2)


@strawberry.federation.type(description="A period of a window of time.", shareable=True)
class LineagePeriod:
    from_: datetime = field(READ, "First instant of the period.", name="from")
    to: datetime = field(READ, "End of the period: the first instant that is no longer in it.")


@strawberry.federation.type(
    description="A period of a window of time in which a walk reaches an asset at one depth.", shareable=True
)
class LineageDepthPeriod:
    from_: datetime = field(READ, "First instant of the period.", name="from")
    to: datetime = field(READ, "End of the period: the first instant that is no longer in it.")
    depth: int = field(READ, "Length of the shortest path from the root at any instant of the period, in links.")


def _write_cursor(self: "LineageBetweenEdge") -> str:
    return self.page.cursor(self.reached)


@strawberry.type(description="An asset that a walk returns at some instant of a window.")
class LineageBetweenEdge:
    page: strawberry.Private["LineageBetween"]
    reached: strawberry.Private[ReachedAsset]
    cursor: str = field(READ, "Cursor of the asset in this list.", resolver=_write_cursor)
    node: LazyAsset = field(READ, "The asset, as it was at the last instant of its periods.")
    depth: int = field(READ, "Least depth at which the walk reaches it in the window.")
    periods: list[LineagePeriod] = list_of_periods(
        field(READ, "When the walk returns it, in order of time. Periods that touch are one.")
    )
    depths: list[LineageDepthPeriod] = list_of_periods(
        field(READ, "The same periods, divided at the instants at which its depth changes.")
    )


@strawberry.type(description="A lineage link that a walk returns at some instant of a window.")
class LineageBetweenLink:
    link: LineageLink = field(READ, "The link, as it was at the last instant of its periods.")
    periods: list[LineagePeriod] = list_of_periods(
        field(
            READ,
            "When it is effective and the walk returns both of its ends, of which one may be the root, in order of time. Periods"
            " that touch are one.",
        )
    )


class _Parts(NamedTuple):
    """The optional parts that an operation selects."""

    assets: bool
    links: bool
    link_ends: bool

    @classmethod
    def selected(cls, info: Info) -> "_Parts":
        return cls(selects(info, "edges.node"), selects(info, "links"), selects(info, "links.link.source", "links.link.target"))


@strawberry.type(
    description="A page of what a walk returns at any instant of a window: each asset once, in order of its least depth."
)
class LineageBetween:
    root: strawberry.Private[ResolvedAsset]
    window: strawberry.Private[WalkWindow]
    query: strawberry.Private[WalkQuery]
    all_reached: strawberry.Private[Reached]
    start: strawberry.Private[int]
    stop: strawberry.Private[int]
    parts: strawberry.Private[_Parts]
    keyset: strawberry.Private[Keyset]

    @resolver(READ, "First instant of the window.", name="from")
    def from_(self) -> datetime:
        return self.window.since

    @resolver(READ, "End of the window: the first instant after it.")
    def to(self) -> datetime:
        return self.window.until

    @resolver(READ, "Assets of this page with their depths and periods.")
    async def edges(self, info: Info) -> list[LineageBetweenEdge]:
        nodes = await self._nodes(info) if self.parts.assets else {}
        edges = []
        for reached in self.assets:
            edge = LineageBetweenEdge.__new__(LineageBetweenEdge)
            edge.page, edge.reached, edge.depth = self, reached, reached.depth
            edge.periods = _periods(reached.periods)
            edge.depths = [LineageDepthPeriod(from_=it.since, to=it.until, depth=it.depth) for it in reached.depths]
            if self.parts.assets:
                edge.node = nodes[reached.asset_id]
            edges.append(edge)
        return edges

    @resolver(READ, "Assets of this page, each as it was at the last instant of its periods.")
    async def nodes(self, info: Info) -> list[LazyAsset]:
        nodes = await self._nodes(info)
        return [nodes[it.asset_id] for it in self.assets]

    @links_cost()
    @resolver(
        READ,
        "Links among the root and the assets that the walk returns, with their periods. Each link comes once, on the page of the"
        " end that is listed later, so that all pages together hold the whole graph.",
    )
    async def links(self, info: Info) -> list[LineageBetweenLink]:
        indexes = {it.asset_id: index for index, it in enumerate(self.all_reached.assets[: self.stop])} | {self.root.asset_id: -1}
        found = [
            it
            for it in self.all_reached.links
            if it.source_id in indexes
            and it.target_id in indexes
            and max(indexes[it.source_id], indexes[it.target_id]) >= self.start
        ]
        count_links(await info.context.transaction.reader(), len(found), self.query.bounds)
        info.context.cost_meter.links[LINK_AT, self.all_reached.walk] = len(found)
        readings = [(it.link_id, _last_instant(it.periods)) for it in found]
        rows = await info.context.load_all(LINK_AT, readings)
        ends: Mapping[datetime, Mapping[int, LazyAsset]] = {}
        if self.parts.link_ends:
            ends = await _assets_at(info, ((end, at) for it, (_, at) in zip(found, readings, strict=True) for end in it[1:3]))
        links = []
        for reached, row in zip(found, rows, strict=True):
            assert row is not None, "a link is effective while it is reached"
            at = row.as_of
            link = LineageLink.of(row, ends[at], at) if self.parts.link_ends else LineageLink.without_ends([row], at)[0]
            links.append(LineageBetweenLink(link=link, periods=_periods(reached.periods)))
        return links

    @resolver(READ, "Position of this page in the list.")
    def page_info(self) -> PageInfo:
        assets = self.assets
        return PageInfo(
            has_next_page=self.stop < len(self.all_reached.assets),
            has_previous_page=self.start > 0,
            write_start_cursor=(lambda: self.cursor(assets[0])) if assets else None,
            write_end_cursor=(lambda: self.cursor(assets[-1])) if assets else None,
        )

    @resolver(READ, "Number of assets that the walk returns in the window. If it is truncated, there may be more.")
    def total_count(self) -> int:
        return len(self.all_reached.assets)

    @resolver(
        READ,
        "The limit that truncated the assets or their periods, or else the links, if they are selected. Null if all are complete"
        " within maxDepth.",
    )
    def truncated(self) -> LineageTruncation | None:
        reached = self.all_reached
        return LineageTruncation.of(reached.truncation or (reached.links_truncation if self.parts.links else None))

    @property
    def assets(self) -> Sequence[ReachedAsset]:
        """The assets of this page."""
        return self.all_reached.assets[self.start : self.stop]

    def cursor(self, asset: ReachedAsset) -> str:
        """Return the cursor of an asset in this list."""
        return self.keyset.cursor((self.window.until, asset.depth, asset.asset_id))

    async def _nodes(self, info: Info) -> Mapping[int, LazyAsset]:
        """Return the assets of this page by id, each at the last instant of its periods."""
        readings = [(it.asset_id, _last_instant(it.periods)) for it in self.assets]
        found = await _assets_at(info, readings)
        return {asset_id: found[at][asset_id] for asset_id, at in readings}


@strawberry.type
class LineageBetweenQueries:
    @walk_cost(*Direction)
    @list_size(by=("first",), of=("edges", "nodes", "links"))
    @resolver(
        READ,
        "Everything that a walk from an asset returns at some instant of a window, from one instant (inclusive) to another"
        " (exclusive), and in which periods: at each instant what `upstream` or `downstream` returns as of then. Null if there is"
        " no such asset, or if it exists at no instant of the window.",
    )
    async def lineage_between(
        self,
        info: Info,
        of: Annotated[
            AssetRef,
            strawberry.argument(
                description="The asset to walk from. A name or key means the asset that has it at the last instant of the window,"
                " just before `to`, or else at the first."
            ),
        ],
        direction: Annotated[LineageDirection, strawberry.argument(description="Direction of the walk.")],
        from_: Annotated[datetime, strawberry.argument(name="from", description="First instant of the window.")],
        to: Annotated[
            datetime | None, strawberry.argument(description="First instant after the window. Defaults to now.")
        ] = None,
        max_depth: MaxDepth = 5,
        filter: WalkFilter = None,
        first: WalkFirst = DEFAULT_WALK_PAGE_SIZE,
        after: Annotated[
            str | None,
            strawberry.argument(description="Cursor of the same list. The page starts after it, in the window of the cursor."),
        ] = None,
    ) -> LineageBetween | None:
        limits, ref = info.context.limits, asset_ref(provided_fields(of))
        query = await walk_query(info, Direction(direction.name), max_depth, filter)
        size = checked_page_size("first", first, limits.walk_page_size)
        keyset = Keyset(info.context.cursor_cipher, "lineageBetween", ref, from_, query, key=(datetime, int, int))
        key = None
        if after is not None:
            until, *key = keyset.read(after, "after")
            if to not in (None, until):
                raise BadInput(
                    f"after is a cursor of a window until {write_instant(until)}. Give the same `to`, or leave it out.",
                    field="after",
                )
        else:
            until = await _checked_end(info, from_, to)
        root = await info.context.load(REFERENCE_IN_WINDOW, (ref, from_, until - MICROSECOND))
        if not root.is_found:
            return None
        parts = of_selection(info, _Parts.selected)
        window = WalkWindow(root.asset_id, from_, until, parts.links)
        reached = await load_reached(info, window, query)
        if not reached.exists:
            return None
        start = reached.index_after(None if key is None else tuple(key))
        return LineageBetween(
            root=root,
            window=window,
            query=query,
            all_reached=reached,
            start=start,
            stop=min(start + size, len(reached.assets)),
            parts=parts,
            keyset=keyset,
        )


async def _checked_end(info: Info, since: datetime, until: datetime | None) -> datetime:
    """Return the end of a window, by default now. Raise an error if it is not after the start."""
    connection = await info.context.transaction.reader()
    end = await connection.instant(until)
    if end > since:
        return end
    if until is None:
        raise BadInput(f"from is {write_instant(since)}. It must be before now ({write_instant(end)}).", field="from")
    raise BadInput(f"to is {write_instant(end)}. It must be after from ({write_instant(since)}).", field="to")


async def load_reached(info: Info, window: WalkWindow, query: WalkQuery) -> Reached:
    """Load what is reached in a window, and meter its cost."""
    meter = info.context.cost_meter
    reserved = estimate_walk(query.bounds, info.context.figures, (query.direction,), query.max_depth).cost(query.bounds)
    meter.reserve(reserved, info.context.limits.cost)
    reached = await info.context.load(REACHED_IN_WINDOW, window, query)
    meter.settle(reserved, [reached.walk])
    return reached


async def _assets_at(info: Info, readings: Iterable[tuple[int, datetime]]) -> Mapping[datetime, Mapping[int, LazyAsset]]:
    """Return assets by the instants at which they are read and by their ids. One statement reads all."""
    ids: defaultdict[datetime, set[int]] = defaultdict(set)
    for asset_id, at in readings:
        ids[at].add(asset_id)
    sets = [(tuple(sorted(of_instant)), at, at) for at, of_instant in ids.items()]
    return dict(zip(ids, await info.context.load_all(ASSETS_BY_ID, sets), strict=True)) if sets else {}


def _last_instant(periods: Sequence[Period]) -> datetime:
    return periods[-1][1] - MICROSECOND


def _periods(periods: Iterable[Period]) -> list[LineagePeriod]:
    return [LineagePeriod(from_=since, to=until) for since, until in periods]

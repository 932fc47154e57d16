"""Lineage: all that feeds an asset, and all that it feeds, at an instant. See docs/lineage.md."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache, cached_property
from itertools import chain, islice
from operator import attrgetter
from typing import Any, NamedTuple

from sqlalchemy import TextClause

from db.associations.lineage_link import LinkRow, link_row
from db.connection import ReadConnection
from db.sql import render, statement

# How many links may be looked at for each that may be seen, to find those among what was reached: what was reached last leads
# elsewhere, too.
_LOOKS = 10


class Direction(StrEnum):
    UPSTREAM = "UPSTREAM"
    DOWNSTREAM = "DOWNSTREAM"

    @property
    def ends(self) -> tuple[str, str]:
        """The columns of the end at which a walk stands, and of the end to which it goes."""
        return ("target_id", "source_id") if self is Direction.UPSTREAM else ("source_id", "target_id")


class TruncationReason(StrEnum):
    """What may cut a walk."""

    ASSETS = "ASSETS"
    LINKS = "LINKS"
    TIME = "TIME"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far each walk may go, whatever its depth."""

    assets: int = 5_000
    links: int = 20_000
    milliseconds: int = 10_000


@dataclass(frozen=True, slots=True)
class LinkFilter:
    """Which links a walk takes. A part that is None leaves nothing out; an empty one leaves out everything."""

    types: tuple[str, ...] | None = None
    producers: tuple[str, ...] | None = None
    min_confidence: float | None = None
    seen_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class AssetFilter:
    """Which of the assets that a walk reaches it shows."""

    kinds: tuple[str, ...] | None = None
    domains: tuple[str, ...] | None = None
    entity_types: tuple[str, ...] | None = None


ALL_LINKS = LinkFilter()
ALL_ASSETS = AssetFilter()


@dataclass(frozen=True, slots=True)
class WalkQuery:
    """How to walk, and what to show of it."""

    direction: Direction
    max_depth: int
    bounds: Bounds
    links: LinkFilter = ALL_LINKS
    assets: AssetFilter = ALL_ASSETS


class Truncation(NamedTuple):
    """What cut an answer: the bound that was met, and how far it goes."""

    reason: TruncationReason
    limit: int

    @classmethod
    def of(cls, cut: TruncationReason, bounds: Bounds) -> "Truncation":
        limits = {
            TruncationReason.ASSETS: bounds.assets,
            TruncationReason.LINKS: bounds.links,
            TruncationReason.TIME: bounds.milliseconds,
        }
        return cls(cut, limits[cut])


class WalkStep(NamedTuple):
    """An asset that was reached, and how far away it is."""

    depth: int
    asset_id: int


@dataclass(frozen=True, eq=False)
class Walk:
    """What one root reaches, level by level, each level in order of the ids; and what of it is shown."""

    root_id: int
    query: WalkQuery
    instant: datetime
    reached: Sequence[Sequence[int]]
    shown: Sequence[Sequence[int]]
    truncated: Truncation | None

    @property
    def members(self) -> list[int]:
        """The root, and all that it reaches."""
        return [self.root_id, *chain.from_iterable(self.reached)]

    @property
    def visited(self) -> int:
        """How many assets were visited, shown or not."""
        return sum(map(len, self.reached))

    @property
    def depths(self) -> dict[int, int]:
        """How far away each asset is, the root among them."""
        return {asset_id: depth for depth, level in enumerate([[self.root_id], *self.reached]) for asset_id in level}

    @cached_property
    def total(self) -> int:
        """How many assets are shown."""
        return sum(map(len, self.shown))

    def after(self, step: WalkStep | None) -> int:
        """The place behind a step among what is shown, where the step itself need not be."""
        if step is None:
            return 0
        before = sum(map(len, self.shown[: step.depth - 1]))
        level = self.shown[step.depth - 1] if 0 < step.depth <= len(self.shown) else ()
        return before + bisect_right(level, step.asset_id)

    def steps(self, start: int, stop: int) -> list[WalkStep]:
        """What is shown from one place on and before another, breadth first."""
        found: list[WalkStep] = []
        for depth, level in enumerate(self.shown, 1):
            found += [WalkStep(depth, asset_id) for asset_id in level[max(start, 0) : max(stop, 0)]]
            start, stop = start - len(level), stop - len(level)
        return found


class WalkPage(NamedTuple):
    """A page of a walk: the steps from one place on, and before another one."""

    walk: Walk
    start: int
    stop: int


class Links(NamedTuple):
    """Links that come with a page; not all of them, where a bound cut them."""

    rows: list[LinkRow]
    cut: TruncationReason | None


class Subgraph(NamedTuple):
    """The links among assets, as parallel lists; not all of them, where a bound cut them."""

    sources: list[int]
    targets: list[int]
    confidences: list[float]
    links: list[int]
    cut: TruncationReason | None


async def walks(connection: ReadConnection, readings: Sequence[tuple[int, datetime | None]], query: WalkQuery) -> list[Walk]:
    """Walk from many roots at once, each at its instant, else now, and each bounded by itself."""
    instants = [as_of or connection.now for _, as_of in readings]
    rows = await connection.fetch(
        _walk_statement(query.direction, query.links == ALL_LINKS, query.assets == ALL_ASSETS),
        {
            "roots": [root for root, _ in readings],
            "instants": instants,
            "depth": query.max_depth,
            "assets": query.bounds.assets,
            "links": query.bounds.links,
            "time": timedelta(milliseconds=query.bounds.milliseconds),
            **_link_parameters(query.links),
            **_asset_parameters(query.assets),
        },
    )
    pages: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        pages[row.place].append(row)
    return [
        _walk(root, query, instant, pages[place])
        for place, ((root, _), instant) in enumerate(zip(readings, instants, strict=True), 1)
    ]


async def links_of_pages(connection: ReadConnection, stretches: Sequence[WalkPage], query: WalkQuery) -> list[Links]:
    """The links that come with each page: those among the root and what is shown of the walk, whose later end is on the page."""
    sets, fresh = [], []
    for walk, start, stop in stretches:
        sets.append([walk.root_id, *islice(chain.from_iterable(walk.shown), stop)])
        fresh.append(start + 1)
    instants = [walk.instant for walk, _, _ in stretches]
    found: list[list[LinkRow]] = [[] for _ in stretches]
    cuts: list[TruncationReason | None] = [None] * len(stretches)
    for row in await _links_among(connection, "lineage/_links_on_page", sets, instants, query, fresh):
        place = row.place - 1
        if row.link_id is None:
            cuts[place] = _truncation_reason(row, query.bounds)
        else:
            found[place].append(link_row(row[1:-2], instants[place]))
    most = query.bounds.links
    for rows in found:
        rows.sort(key=attrgetter("link_id"))
    return [
        Links(rows[:most], cut or (TruncationReason.LINKS if len(rows) > most else None))
        for rows, cut in zip(found, cuts, strict=True)
    ]


async def subgraphs_of_walks(connection: ReadConnection, found: Sequence[Walk], query: WalkQuery) -> list[Subgraph]:
    """The links among the root and all that it reaches, of each walk."""
    return await subgraphs_among(connection, [walk.members for walk in found], [walk.instant for walk in found], query)


async def subgraphs_among(
    connection: ReadConnection, sets: Sequence[Sequence[int]], instants: Sequence[datetime], query: WalkQuery
) -> list[Subgraph]:
    """The links among the assets of each set, that hold at its instant."""
    found = [Subgraph([], [], [], [], None) for _ in sets]
    for row in await _links_among(connection, "lineage/_links_as_graph", sets, instants, query, [0] * len(sets)):
        parts = (row.sources or [], row.targets or [], row.confidences or [], row.links or [])
        found[row.place - 1] = Subgraph(*parts, _truncation_reason(row, query.bounds))
    return found


async def _links_among(
    connection: ReadConnection,
    result: str,
    sets: Sequence[Sequence[int]],
    instants: Sequence[datetime],
    query: WalkQuery,
    fresh_from: Sequence[int],
) -> Sequence[Any]:
    """The links among sets of assets; those of a set from a place on are fresh."""
    places: list[int] = []
    fresh: list[bool] = []
    for place, (ids, start) in enumerate(zip(sets, fresh_from, strict=True), 1):
        places += [place] * len(ids)
        fresh += [False] * start + [True] * (len(ids) - start)
    return await connection.fetch(
        _among_statement(result, query.direction, query.links == ALL_LINKS),
        {
            "places": places,
            "members": list(chain.from_iterable(sets)),
            "fresh": fresh,
            "instants": list(instants),
            "links": query.bounds.links,
            "looks": query.bounds.links * _LOOKS,
            "time": timedelta(milliseconds=query.bounds.milliseconds),
            **_link_parameters(query.links),
        },
    )


def _truncation_reason(row: Any, bounds: Bounds) -> TruncationReason | None:
    """What cut the looking at links, by what is told of it."""
    if row.late:
        return TruncationReason.TIME
    return TruncationReason.LINKS if row.looked > bounds.links * _LOOKS else None


def _walk(root_id: int, query: WalkQuery, instant: datetime, pages: Sequence[Any]) -> Walk:
    """A walk out of its pages, of which the first holds the root alone."""
    bounds, last = query.bounds, pages[-1]
    reached = [page.level for page in pages[1:]]
    shown = reached if query.assets == ALL_ASSETS else [page.shown for page in pages[1:]]
    truncated = None
    if last.reached > bounds.assets:
        truncated = Truncation.of(TruncationReason.ASSETS, bounds)
        kept = reached[-1][: len(reached[-1]) - (last.reached - bounds.assets)]
        known = set(kept)
        shown[-1] = [it for it in shown[-1] if it in known]
        reached[-1] = kept
    elif last.links > bounds.links:
        truncated = Truncation.of(TruncationReason.LINKS, bounds)
    elif last.late and last.depth < query.max_depth:
        truncated = Truncation.of(TruncationReason.TIME, bounds)
    return Walk(root_id, query, instant, reached, shown, truncated)


@cache
def _walk_statement(direction: Direction, all_links: bool, all_assets: bool) -> TextClause:
    near, far = direction.ends
    return statement(
        "lineage/walk",
        near=near,
        far=far,
        link_filter="" if all_links else render("lineage/_link_filter", {"instant": "here.instant"}),
        asset_filter="NULL" if all_assets else render("lineage/_asset_filter"),
    )


@cache
def _among_statement(result: str, direction: Direction, all_links: bool) -> TextClause:
    near, far = direction.ends
    return statement(
        "lineage/links_among",
        near=near,
        far=far,
        result=render(result),
        link_filter="" if all_links else render("lineage/_link_filter", {"instant": "w.instant"}),
    )


def _link_parameters(asked: LinkFilter) -> dict[str, Any]:
    if asked == ALL_LINKS:
        return {}
    return {
        "types": asked.types,
        "producers": asked.producers,
        "min_confidence": asked.min_confidence,
        "seen_since": asked.seen_since,
    }


def _asset_parameters(asked: AssetFilter) -> dict[str, Any]:
    return {} if asked == ALL_ASSETS else {"kinds": asked.kinds, "domains": asked.domains, "entity_types": asked.entity_types}

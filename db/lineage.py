"""Lineage: all that feeds an asset, and all that it feeds, at an instant. See docs/lineage.md."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache, cached_property
from itertools import chain
from typing import Any, NamedTuple

from sqlalchemy import TextClause, text

from db.connection import ReadConnection
from db.link import LinkRow, link_row
from db.sql import load

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


class Cut(StrEnum):
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
    as_of: datetime | None = None


class Truncation(NamedTuple):
    """What cut an answer: the bound that was met, and how far it goes."""

    reason: Cut
    limit: int


class Step(NamedTuple):
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

    @cached_property
    def steps(self) -> list[Step]:
        """What is shown, breadth first."""
        return [Step(depth, asset_id) for depth, level in enumerate(self.shown, 1) for asset_id in level]

    @property
    def members(self) -> list[int]:
        """The root, and all that it reaches."""
        return [self.root_id, *chain.from_iterable(self.reached)]

    @property
    def depths(self) -> dict[int, int]:
        """How far away each asset is, the root among them."""
        return {asset_id: depth for depth, level in enumerate([[self.root_id], *self.reached]) for asset_id in level}

    def after(self, step: Step | None) -> int:
        """The place behind a step, which need not be shown."""
        return 0 if step is None else bisect_right(self.steps, step)


class Stretch(NamedTuple):
    """A page of a walk: the steps from one place on, and before another one."""

    walk: Walk
    start: int
    stop: int


class Links(NamedTuple):
    """Links that come with a page; not all of them, where a bound was met."""

    rows: list[LinkRow]
    complete: bool


class Graph(NamedTuple):
    """The links among assets, as parallel lists; not all of them, where a bound was met."""

    sources: list[int]
    targets: list[int]
    confidences: list[float]
    links: list[int]
    complete: bool


async def walks(connection: ReadConnection, roots: Sequence[int], query: WalkQuery) -> list[Walk]:
    """Walk from many roots at once, each bounded by itself."""
    instant = query.as_of or connection.now
    rows = await connection.fetch(
        _walk_statement(query.direction, query.links == ALL_LINKS, query.assets == ALL_ASSETS),
        {
            "roots": list(dict.fromkeys(roots)),
            "instant": instant,
            "depth": query.max_depth,
            "assets": query.bounds.assets,
            "links": query.bounds.links,
            "time": timedelta(milliseconds=query.bounds.milliseconds),
            **_asked_of_links(query.links),
            **_asked_of_assets(query.assets),
        },
    )
    pages: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        pages[row.root].append(row)
    return [_walk(root, query, instant, pages[root]) for root in roots]


async def links_of_stretches(connection: ReadConnection, stretches: Sequence[Stretch], query: WalkQuery) -> list[Links]:
    """The links that come with each page: those among the root and what is shown of the walk, whose later end is on the page."""
    instant = stretches[0].walk.instant
    members: list[tuple[int, int, bool]] = []
    for place, (walk, start, stop) in enumerate(stretches):
        members.append((place, walk.root_id, False))
        members += [(place, step.asset_id, number >= start) for number, step in enumerate(walk.steps[:stop])]
    found: list[list[LinkRow]] = [[] for _ in stretches]
    looked = [0] * len(stretches)
    for row in await _links_among(connection, "links_on_page", members, query.direction, query.links, query.bounds, instant):
        if row.link_id is None:
            looked[row.place] = row.looked
        else:
            found[row.place].append(link_row(row[1:-1], instant))
    most = query.bounds.links
    return [
        Links(rows[:most], complete=len(rows) <= most and seen <= most * _LOOKS) for rows, seen in zip(found, looked, strict=True)
    ]


async def graphs_of_walks(connection: ReadConnection, found: Sequence[Walk], query: WalkQuery) -> list[Graph]:
    """The links among the root and all that it reaches, of each walk."""
    sets = [walk.members for walk in found]
    return await graphs_among(connection, sets, query.direction, query.links, query.bounds, found[0].instant)


async def graphs_among(
    connection: ReadConnection,
    sets: Sequence[Sequence[int]],
    direction: Direction,
    links: LinkFilter,
    bounds: Bounds,
    instant: datetime,
) -> list[Graph]:
    """The links among the assets of each set."""
    members = [(place, asset_id, True) for place, ids in enumerate(sets) for asset_id in ids]
    found = [Graph([], [], [], [], complete=True) for _ in sets]
    for row in await _links_among(connection, "links_as_graph", members, direction, links, bounds, instant):
        parts = (row.sources or [], row.targets or [], row.confidences or [], row.links or [])
        found[row.place] = Graph(*parts, complete=row.looked <= bounds.links * _LOOKS)
    return found


async def _links_among(
    connection: ReadConnection,
    chosen: str,
    members: Sequence[tuple[int, int, bool]],
    direction: Direction,
    links: LinkFilter,
    bounds: Bounds,
    instant: datetime,
) -> Sequence[Any]:
    return await connection.fetch(
        _among_statement(chosen, direction, links == ALL_LINKS),
        {
            "places": [it[0] for it in members],
            "members": [it[1] for it in members],
            "fresh": [it[2] for it in members],
            "instant": instant,
            "links": bounds.links,
            "looks": bounds.links * _LOOKS,
            **_asked_of_links(links),
        },
    )


def _walk(root_id: int, query: WalkQuery, instant: datetime, pages: Sequence[Any]) -> Walk:
    """A walk out of its pages, of which the first holds the root alone."""
    bounds, last = query.bounds, pages[-1]
    reached = [page.level for page in pages[1:]]
    shown = reached if query.assets == ALL_ASSETS else [page.shown for page in pages[1:]]
    truncated = None
    if last.reached > bounds.assets:
        truncated = Truncation(Cut.ASSETS, bounds.assets)
        kept = reached[-1][: len(reached[-1]) - (last.reached - bounds.assets)]
        known = set(kept)
        shown[-1] = [it for it in shown[-1] if it in known]
        reached[-1] = kept
    elif last.links > bounds.links:
        truncated = Truncation(Cut.LINKS, bounds.links)
    elif last.late and last.depth < query.max_depth:
        truncated = Truncation(Cut.TIME, bounds.milliseconds)
    return Walk(root_id, query, instant, reached, shown, truncated)


@cache
def _walk_statement(direction: Direction, all_links: bool, all_assets: bool) -> TextClause:
    near, far = direction.ends
    statement = load("walk").replace("{near}", near).replace("{far}", far)
    statement = statement.replace("{pruned}", "" if all_links else load("pruned"))
    return text(statement.replace("{shown}", "NULL" if all_assets else load("shown")))


@cache
def _among_statement(chosen: str, direction: Direction, all_links: bool) -> TextClause:
    near, far = direction.ends
    statement = load("links_among").replace("{chosen}", load(chosen)).replace("{near}", near).replace("{far}", far)
    return text(statement.replace("{pruned}", "" if all_links else load("pruned")))


def _asked_of_links(asked: LinkFilter) -> dict[str, Any]:
    if asked == ALL_LINKS:
        return {}
    return {
        "types": asked.types,
        "producers": asked.producers,
        "min_confidence": asked.min_confidence,
        "seen_since": asked.seen_since,
    }


def _asked_of_assets(asked: AssetFilter) -> dict[str, Any]:
    return {} if asked == ALL_ASSETS else {"kinds": asked.kinds, "domains": asked.domains, "entity_types": asked.entity_types}

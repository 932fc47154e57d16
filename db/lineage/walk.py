"""Walks: the assets that feed an asset, or that it feeds, level by level at an instant. See docs/lineage.md."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from itertools import chain, islice
from typing import Any, NamedTuple

from db.connection import ReadConnection
from db.sql import Statement, render, statement

# Condition on the period of a link: it is effective at the instant of the walk.
_AT_INSTANT = "l.valid_from <= expanded.instant AND l.valid_to > expanded.instant"


class Direction(StrEnum):
    UPSTREAM = "UPSTREAM"
    DOWNSTREAM = "DOWNSTREAM"

    @property
    def ends(self) -> tuple[str, str]:
        """The columns of a link's near end, at which the walk is, and of its far end, to which the walk goes."""
        return ("target_id", "source_id") if self is Direction.UPSTREAM else ("source_id", "target_id")


class TruncationReason(StrEnum):
    """The bound that a truncated walk met."""

    ASSETS = "ASSETS"
    LINKS = "LINKS"
    TIME = "TIME"


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that a walk may use: visited assets, examined links, and time. `_walk.sql` defines the counters.

    Each walk has its own bounds of assets and links; the time is that of the statement, which its walks share. All walks of a
    connection share what they read of the links among their assets.
    """

    assets: int = 5_000
    links: int = 20_000
    milliseconds: int = 10_000
    # not in the repr, of which cursors carry a digest
    links_read: int = field(default=50_000, repr=False)


@dataclass(frozen=True, slots=True)
class LinkFilter:
    """The links that a walk admits. A part that is None admits every link; an empty part admits none."""

    types: tuple[str, ...] | None = None
    producers: tuple[str, ...] | None = None
    min_confidence: float | None = None
    seen_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class AssetFilter:
    """The visited assets that a walk shows. It passes through the others. A part that is None shows every asset."""

    kinds: tuple[str, ...] | None = None
    domains: tuple[str, ...] | None = None
    entity_types: tuple[str, ...] | None = None


ALL_LINKS = LinkFilter()
ALL_ASSETS = AssetFilter()


@dataclass(frozen=True, slots=True)
class WalkQuery:
    """Parameters of a walk. Cursors carry a digest of its repr: do not rename its parts."""

    direction: Direction
    max_depth: int
    bounds: Bounds
    links: LinkFilter = ALL_LINKS
    assets: AssetFilter = ALL_ASSETS


class Truncation(NamedTuple):
    """The bound that truncated an answer, and its value, which the API calls `limit`."""

    reason: TruncationReason
    limit: int

    @classmethod
    def of(cls, reason: TruncationReason, bounds: Bounds) -> "Truncation":
        values = {
            TruncationReason.ASSETS: bounds.assets,
            TruncationReason.LINKS: bounds.links,
            TruncationReason.TIME: bounds.milliseconds,
        }
        return cls(reason, values[reason])


class WalkStep(NamedTuple):
    """A visible asset of a walk, and its depth."""

    depth: int
    asset_id: int


@dataclass(frozen=True, eq=False)
class Walk:
    """The assets that were visited from one root, as levels in order of the depth, each in order of the ids.

    `levels` holds the visited assets within the bounds, `visible_levels` those of them that the asset filter shows. Neither holds
    the root.
    """

    root_id: int
    query: WalkQuery
    instant: datetime
    levels: Sequence[Sequence[int]]
    visible_levels: Sequence[Sequence[int]]
    truncation: Truncation | None
    # the links that were examined
    examined_count: int

    @property
    def asset_ids(self) -> list[int]:
        """The root and all visited assets."""
        return [self.root_id, *chain.from_iterable(self.levels)]

    @property
    def depths(self) -> dict[int, int]:
        """The depth of each visited asset, and 0 for the root."""
        return {asset_id: depth for depth, level in enumerate([[self.root_id], *self.levels]) for asset_id in level}

    @property
    def visited_count(self) -> int:
        """The number of visited assets."""
        return sum(map(len, self.levels))

    @property
    def visible_count(self) -> int:
        """The number of visible assets."""
        return sum(map(len, self.visible_levels))

    def index_after(self, step: WalkStep | None) -> int:
        """Return the index of the first visible asset after a step, or 0 without one. The step itself need not be visible."""
        if step is None:
            return 0
        before = sum(map(len, self.visible_levels[: step.depth - 1]))
        level = self.visible_levels[step.depth - 1] if 0 < step.depth <= len(self.visible_levels) else ()
        return before + bisect_right(level, step.asset_id)

    def steps(self, start: int, stop: int) -> list[WalkStep]:
        """Return the visible assets from index start up to index stop, breadth first."""
        steps: list[WalkStep] = []
        for depth, level in enumerate(self.visible_levels, 1):
            steps += [WalkStep(depth, asset_id) for asset_id in level[max(start, 0) : max(stop, 0)]]
            start, stop = start - len(level), stop - len(level)
        return steps


class WalkPage(NamedTuple):
    """A page of a walk: its visible assets from index start up to index stop."""

    walk: Walk
    start: int
    stop: int

    @property
    def asset_ids(self) -> list[int]:
        """The ids of the assets of the page."""
        return list(islice(chain.from_iterable(self.walk.visible_levels), self.start, self.stop))


async def run_walks(connection: ReadConnection, roots: Sequence[tuple[int, datetime | None]], query: WalkQuery) -> list[Walk]:
    """Walk from many roots in one statement, each at its instant, by default now. They share the time and no other bound."""
    rows = await connection.fetch(
        _walk_statement(WalkShape.of(query), query.assets == ALL_ASSETS),
        {
            "roots": [root_id for root_id, _ in roots],
            "instants": [as_of or connection.now_if_read for _, as_of in roots],
            **bound_parameters(query),
            **link_parameters(query.links),
            **asset_parameters(query.assets),
        },
    )
    level_rows: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        level_rows[row.ordinal].append(row)
    shown = "level" if query.assets == ALL_ASSETS else "visible"
    walks = []
    for ordinal, (root_id, _) in enumerate(roots, 1):
        # the first row holds the root alone
        root, *following = level_rows[ordinal]
        levels, visible_levels = [row["level"] for row in following], [row[shown] for row in following]
        walks.append(walk_of_levels(root_id, query, root.instant, levels, visible_levels, level_rows[ordinal][-1]))
    return walks


def bound_parameters(query: WalkQuery) -> dict[str, Any]:
    """Build the parameters of the CTE `walk`, without those of a filter."""
    return {
        "depth": query.max_depth,
        "assets": query.bounds.assets,
        "links": query.bounds.links,
        "time": timedelta(milliseconds=query.bounds.milliseconds),
    }


class WalkShape(NamedTuple):
    """The parts of a query that change the text of its statement."""

    direction: Direction
    # the walk ends at the neighbours of its root
    is_one_level: bool
    all_links: bool

    @classmethod
    def of(cls, query: WalkQuery) -> "WalkShape":
        return cls(query.direction, query.max_depth == 1, query.links == ALL_LINKS)


def render_walk(shape: WalkShape, depth: str = ":depth") -> str:
    """Return the CTE `walk`, to which `depth` gives the greatest depth."""
    near, far = shape.direction.ends
    link_filter = "" if shape.all_links else render("lineage/_link_filter", {"instant": "expanded.instant"})
    tokens = {"near": near, "far": far, "validity": _AT_INSTANT, "link_filter": link_filter}
    return render("lineage/_neighbours", tokens) if shape.is_one_level else render("lineage/_walk", {**tokens, "depth": depth})


def link_parameters(links: LinkFilter) -> dict[str, Any]:
    """Build the parameters of `_link_filter.sql`, which only a filter needs."""
    if links == ALL_LINKS:
        return {}
    return {
        "types": links.types,
        "producers": links.producers,
        "min_confidence": links.min_confidence,
        "seen_since": links.seen_since,
    }


def walk_of_levels(
    root_id: int,
    query: WalkQuery,
    instant: datetime,
    levels: Sequence[Sequence[int]],
    visible_levels: Sequence[Sequence[int]],
    last: Any,
) -> Walk:
    """Build a walk from its levels, without the root, and derive from the last row the bound that ended it, if one did.

    ASSETS: the last level is trimmed to its lowest ids. LINKS: the last level is partial. TIME: the last level is whole but was
    not expanded, which truncates nothing at the greatest depth. The first that applies is named; a partial last level may be
    trimmed, too.
    """
    bounds = query.bounds
    reason = None
    if last["visited"] > bounds.assets:
        reason = TruncationReason.ASSETS
        kept = levels[-1][: len(levels[-1]) - (last["visited"] - bounds.assets)]
        visible_levels = [*visible_levels[:-1], sorted(set(visible_levels[-1]).intersection(kept))]
        levels = [*levels[:-1], kept]
    # one link more than the bound is examined only if there are more
    elif last["examined"] > bounds.links:
        reason = TruncationReason.LINKS
    elif last["timed_out"] and last["depth"] < query.max_depth:
        reason = TruncationReason.TIME
    truncation = None if reason is None else Truncation.of(reason, bounds)
    return Walk(root_id, query, instant, levels, visible_levels, truncation, last["examined"])


@cache
def _walk_statement(shape: WalkShape, all_assets: bool) -> Statement:
    return statement(
        "lineage/walk",
        walk=render_walk(shape),
        asset_filter="NULL" if all_assets else render("lineage/_asset_filter"),
    )


def asset_parameters(assets: AssetFilter) -> dict[str, Any]:
    """Build the parameters of a filter of assets, which only a filter needs."""
    return {} if assets == ALL_ASSETS else {"kinds": assets.kinds, "domains": assets.domains, "entity_types": assets.entity_types}

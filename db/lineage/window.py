"""Walks through a window of time: the assets and links that a walk reaches at any instant of it, and when. See docs/lineage.md.

The database reads the links that are effective at some instant of the window. The walk over their periods is plain Python.
"""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from db.computation import STEPS_PER_CHECK, WALK_GRAPHS, Computation
from db.connection import ReadConnection
from db.lineage.periods import Period, intersect, merge
from db.lineage.subgraph import EXAMINED_PER_LINK, GRAPH_LINKS_PER_LINK, count_links
from db.lineage.walk import (
    ALL_ASSETS,
    ALL_LINKS,
    Direction,
    Truncation,
    TruncationReason,
    Walk,
    WalkQuery,
    asset_parameters,
    bound_parameters,
    link_parameters,
    walk_of_levels,
)
from db.sql import Statement, render, statement

# Condition on the period of a link: it is effective at some instant of the window, which begins at the instant of the root.
_IN_WINDOW = "l.valid_from < CAST(:until AS timestamptz) AND l.valid_to > expanded.instant"

# Periods of links from which on a walk over them is computed in a thread.
_MANY_PERIODS = 200

_ONES = re.compile("1+")


class WalkWindow(NamedTuple):
    """Walks from an asset at all instants from `since` on and before `until`, with the links among their assets or without."""

    root_id: int
    since: datetime
    until: datetime
    with_links: bool = True


class PeriodAtDepth(NamedTuple):
    """A period in which an asset is reached at one depth."""

    since: datetime
    until: datetime
    depth: int


class ReachedAsset(NamedTuple):
    """A visible asset that is reached in a window: its least depth, when it is reached, and at which depth when."""

    depth: int
    asset_id: int
    periods: Sequence[Period]
    depths: Sequence[PeriodAtDepth]


class ReachedLink(NamedTuple):
    """A link that is reached in a window, because it is effective while both of its ends are reached or the root."""

    link_id: int
    source_id: int
    target_id: int
    periods: Sequence[Period]


class Reached(NamedTuple):
    """All that is reached in a window: visible assets in order of their depth and id, and links in order of their ids.

    `exists` is false if the root exists at no instant of it. `walk` has the assets that were visited and the count of the links
    that were examined: those of a walk over all links of the window, whether or not they are effective at the same instant.
    """

    exists: bool
    walk: Walk
    assets: Sequence[ReachedAsset]
    links: Sequence[ReachedLink]
    # the bound that cut the assets or their periods, and the one that cut the links
    truncation: Truncation | None
    links_truncation: Truncation | None

    def index_after(self, key: tuple[int, int] | None) -> int:
        """Return the index of the first asset after a depth and an id, or 0 without them."""
        return 0 if key is None else bisect_right(self.assets, key, key=itemgetter(0, 1))


class _LinkPeriods(NamedTuple):
    """A link of the graph, and the periods in which it is effective and admitted."""

    link_id: int
    source_id: int
    target_id: int
    periods: Sequence[Period]


async def reached_in_windows(connection: ReadConnection, windows: Sequence[WalkWindow], query: WalkQuery) -> list[Reached]:
    """Find what is reached in each window, one after the other."""
    return [await reached_in_window(connection, it, query) for it in windows]


async def reached_in_window(connection: ReadConnection, window: WalkWindow, query: WalkQuery) -> Reached:
    """Find what the walks of a window reach, and when: at each instant what a walk at that instant finds.

    If a bound cut it, assets and periods are missing, but none is wrong.
    """
    row = await connection.fetch_one(
        _statement(query.direction, query.links == ALL_LINKS, query.assets == ALL_ASSETS),
        {
            "root": window.root_id,
            "since": window.since,
            "until": window.until,
            "all_links": window.with_links,
            "max_examined": _most_examined(query),
            **bound_parameters(query),
            **link_parameters(query.links),
            **asset_parameters(query.assets),
        },
    )
    assert row is not None, "the statement has one row"
    periods, seconds = len(row.links or ()), query.bounds.milliseconds / 1_000
    count_links(connection, periods / GRAPH_LINKS_PER_LINK, query.bounds)
    find = partial(_reached, row, window, query)
    if periods < _MANY_PERIODS:
        reached = find(Computation(seconds))
    else:
        reached = await connection.compute(WALK_GRAPHS, seconds, find)
    found = sum(len(it.depths) for it in reached.assets) + sum(len(it.periods) for it in reached.links)
    count_links(connection, found / GRAPH_LINKS_PER_LINK, query.bounds)
    return reached


def _most_examined(query: WalkQuery) -> int:
    return query.bounds.links * EXAMINED_PER_LINK


def _reached(row: Any, window: WalkWindow, query: WalkQuery, computation: Computation) -> Reached:
    """Find what is reached in the graph of a row."""
    bounds = query.bounds
    too_many = Truncation.of(TruncationReason.LINKS, bounds)
    found = zip(row.depths, row.assets, strict=True)
    levels = [[asset_id for _, asset_id in level] for _, level in groupby(found, key=itemgetter(0))]
    walk = walk_of_levels(window.root_id, query, window.since, levels[1:], levels[1:], row)
    links = list(_links_of(row, bounds.links))
    # a longer path than to the last level may lead through assets that were not read
    max_depth = query.max_depth if walk.truncation is None else row.depth
    depths, are_complete = _depths(links, window.root_id, query.direction, max_depth, bounds.links, computation)
    if query.assets != ALL_ASSETS:
        depths = _visible(depths, row)
    assets = sorted(
        ReachedAsset(min(it.depth for it in of_asset), asset_id, merge(it[:2] for it in of_asset), of_asset)
        for asset_id, of_asset in ((asset_id, sorted(it)) for asset_id, it in depths.items())
    )
    are_complete &= row.examined_versions <= _most_examined(query)
    truncation = walk.truncation or (None if are_complete else too_many)
    if not window.with_links:
        return Reached(row.exists, walk, assets, [], truncation, None)
    periods: dict[int, Sequence[Period]] = {window.root_id: [(window.since, window.until)]}
    periods.update((it.asset_id, it.periods) for it in assets)
    reached_links, are_complete = _links_among(links, periods, bounds.links, computation)
    are_complete &= len(row.links or ()) <= bounds.links and row.examined_links <= _most_examined(query)
    return Reached(row.exists, walk, assets, reached_links, truncation, None if are_complete else too_many)


def _links_of(row: Any, most_periods: int) -> Iterator[_LinkPeriods]:
    """Yield the links of a graph, the first of them if they have more periods."""
    columns = (row.links or (), row.sources or (), row.targets or (), row.starts or (), row.ends or ())
    periods = list(zip(*columns, strict=True))[:most_periods]
    for (link_id, source_id, target_id), of_link in groupby(periods, key=itemgetter(0, 1, 2)):
        yield _LinkPeriods(link_id, source_id, target_id, [(since, until) for *_, since, until in of_link])


def _depths(
    links: Sequence[_LinkPeriods],
    root_id: int,
    direction: Direction,
    max_depth: int,
    most_periods: int,
    computation: Computation,
) -> tuple[dict[int, list[PeriodAtDepth]], bool]:
    """Walk breadth-first over the periods of links. Return when each asset is reached at which depth, and false if these are more
    periods than allowed: then those of the last depths are missing.

    The instants at which links begin or end divide the window into parts. A set of parts is a number with a bit for each. An
    asset is reached in the parts in which an asset one link nearer is reached and the link between them is effective, except
    those in which it is reached at a lower depth.
    """
    instants = sorted({instant for link in links for period in link.periods for instant in period})
    parts = {instant: part for part, instant in enumerate(instants)}
    onward: defaultdict[int, list[tuple[int, list[tuple[int, int]]]]] = defaultdict(list)
    for link in links:
        near, far = (link.source_id, link.target_id) if direction is Direction.DOWNSTREAM else (link.target_id, link.source_id)
        onward[near].append((far, [(parts[since], parts[until]) for since, until in link.periods]))
    level = {root_id: (1 << len(instants)) - 1}
    reached = defaultdict(int, level)
    depths: defaultdict[int, list[PeriodAtDepth]] = defaultdict(list)
    steps = number = 0
    for depth in range(1, max_depth + 1):
        found: defaultdict[int, int] = defaultdict(int)
        for near, near_parts in level.items():
            for far, periods in onward[near]:
                for start, end in periods:
                    steps += 1
                    if steps % STEPS_PER_CHECK == 0:
                        computation.check()
                    found[far] |= near_parts & (1 << end) - (1 << start)
        level = {far: new for far in sorted(found) if (new := found[far] & ~reached[far])}
        if not level:
            break
        for far, new in level.items():
            computation.check()
            reached[far] |= new
            periods_of_far = [PeriodAtDepth(instants[start], instants[end], depth) for start, end in _runs(new)]
            depths[far] += periods_of_far
            number += len(periods_of_far)
            if number > most_periods:
                return depths, False
    return depths, True


def _runs(parts: int) -> Iterator[tuple[int, int]]:
    """Yield the start and the end of each run of parts in a set."""
    # the digits from the lowest on, without the prefix
    for run in _ONES.finditer(bin(parts)[:1:-1]):
        yield run.span()


def _visible(depths: Mapping[int, Sequence[PeriodAtDepth]], row: Any) -> dict[int, list[PeriodAtDepth]]:
    """Return what a filter shows of the periods of assets."""
    shown: defaultdict[int, list[Period]] = defaultdict(list)
    for asset_id, since, until in zip(row.visible or (), row.visible_starts or (), row.visible_ends or (), strict=True):
        shown[asset_id].append((since, until))
    visible = {}
    for asset_id, of_asset in depths.items():
        if common := [
            PeriodAtDepth(since, until, it.depth) for it in of_asset for since, until in intersect([it[:2]], shown[asset_id])
        ]:
            visible[asset_id] = common
    return visible


def _links_among(
    links: Sequence[_LinkPeriods], reached: Mapping[int, Sequence[Period]], most_periods: int, computation: Computation
) -> tuple[list[ReachedLink], bool]:
    """Find the links that are effective while both ends are reached, and false if they have more periods than allowed."""
    among: list[ReachedLink] = []
    number = 0
    for link in links:
        computation.check()
        common = intersect(intersect(link.periods, reached.get(link.source_id, ())), reached.get(link.target_id, ()))
        number += len(common)
        if number > most_periods:
            return sorted(among), False
        if common:
            among.append(ReachedLink(link.link_id, link.source_id, link.target_id, common))
    return sorted(among), True


@cache
def _statement(direction: Direction, all_links: bool, all_assets: bool) -> Statement:
    near, far = direction.ends
    link_filter = "" if all_links else render("lineage/_link_filter", {"instant": "CAST(:until AS timestamptz)"})
    tokens = {"near": near, "far": far, "link_filter": link_filter}
    return statement(
        "lineage/window",
        walk=render("lineage/_walk", {**tokens, "depth": ":depth", "validity": _IN_WINDOW}),
        valid_from="l.valid_from" if all_links else f"l.valid_from, {render('lineage/_first_report')}",
        visible=render("lineage/_all_visible" if all_assets else "lineage/_visible_periods").rstrip(),
        **tokens,
    )

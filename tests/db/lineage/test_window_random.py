"""Assets and links that are reached in a window of time, compared with a plain walk at each instant at which they may differ."""

import random
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from itertools import chain

import pytest

from db.connection import WriteConnection
from db.database import Database
from db.lineage.periods import Period, intersect
from db.lineage.walk import Bounds, Direction, LinkFilter, WalkQuery
from db.lineage.window import Reached, ReachedAsset, WalkWindow, reached_in_window, reached_in_windows
from tests.builders import day
from tests.db.lineage.random_graphs import DAYS, RandomGraphs, adjacency, write_random_graphs
from tests.db.lineage.test_walk_random import any_instant, any_query, plain_walk
from tests.db.plans import rolled_back
from tests.randomness import seeds

pytestmark = [pytest.mark.random, pytest.mark.temporal]

SEEDS = seeds(quick=8, soak=96)
GRAPHS = 20
MICROSECOND = timedelta(microseconds=1)
NO_BOUNDS = Bounds(10**6, 10**6, 10**6)


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[WriteConnection]:
    """Connection whose writes are rolled back."""
    async with rolled_back(database) as connection:
        yield connection


def any_window(rng: random.Random) -> tuple[datetime, datetime]:
    """Choose a window. It may be as short as an instant."""
    since = any_instant(rng)
    until = max(any_instant(rng), since + MICROSECOND)
    return since, until


def holds(periods: Sequence[Period], instant: datetime) -> bool:
    return any(since <= instant < until for since, until in periods)


def assert_are_merged(periods: Sequence[Period], since: datetime, until: datetime) -> None:
    """Assert that periods are in order, within the window, and do not touch."""
    limits = list(chain.from_iterable(periods))
    assert limits
    assert limits == sorted(set(limits))
    assert since <= limits[0]
    assert limits[-1] <= until


def depth_at(asset: ReachedAsset, instant: datetime) -> int | None:
    depths = [it.depth for it in asset.depths if it.since <= instant < it.until]
    assert len(depths) <= 1
    return depths[0] if depths else None


def levels_at(reached: Reached, instant: datetime) -> list[list[int]]:
    """Return the assets of each depth at an instant, without the empty depths at the end."""
    depths = {it.asset_id: depth for it in reached.assets if (depth := depth_at(it, instant))}
    levels: list[list[int]] = [[] for _ in range(max(depths.values(), default=0))]
    for asset_id in sorted(depths):
        levels[depths[asset_id] - 1].append(asset_id)
    return levels


def links_at(graphs: RandomGraphs, links: LinkFilter, instant: datetime, assets: set[int]) -> set[int]:
    return {link.link_id for link, _ in graphs.effective_links(instant, links) if {link.source, link.target} <= assets}


def interesting_instants(since: datetime, until: datetime) -> list[datetime]:
    """Return the instants of a window at which anything may differ from the instant before: the model changes on whole days."""
    days = [day(it) for it in range(-1, DAYS + 1)]
    return sorted({it for it in (since, until - MICROSECOND, *days, *(it - MICROSECOND for it in days)) if since <= it < until})


@pytest.mark.parametrize("seed", SEEDS)
async def test_what_is_reached_in_a_window_is_what_plain_walks_reach_at_each_instant(
    connection: WriteConnection, seed: int
) -> None:
    rng = random.Random(seed)
    graphs = await write_random_graphs(connection, rng, GRAPHS)
    for _ in range(4):
        query, (since, until) = any_query(rng), any_window(rng)
        query = WalkQuery(query.direction, query.max_depth, NO_BOUNDS, query.links, query.assets)
        instants = interesting_instants(since, until)
        neighbours = {it: adjacency(graphs.effective_links(it, query.links), query.direction) for it in instants}
        root_ids = rng.sample(sorted(graphs.uids), 12)
        windows = [WalkWindow(it, since, until) for it in root_ids]
        for root_id, reached in zip(root_ids, await reached_in_windows(connection, windows, query), strict=True):
            assert reached.truncation is None
            assert reached.links_truncation is None
            assert list(reached.assets) == sorted(reached.assets)
            assert list(reached.links) == sorted(reached.links)
            for periods in chain((it.periods for it in reached.assets), (it.periods for it in reached.links)):
                assert_are_merged(periods, since, until)
            for asset in reached.assets:
                assert asset.depth == min(it.depth for it in asset.depths)
            for instant in instants:
                levels, _ = plain_walk(graphs, neighbours[instant], root_id, query)
                while levels and not levels[-1]:
                    levels.pop()
                assert levels_at(reached, instant) == levels
                visible = set(chain.from_iterable(levels))
                assert {it.asset_id for it in reached.assets if holds(it.periods, instant)} == visible
                found = {it.link_id for it in reached.links if holds(it.periods, instant)}
                assert found == links_at(graphs, query.links, instant, {root_id, *visible})


@pytest.mark.parametrize("seed", SEEDS)
async def test_what_a_bound_leaves_in_a_window_is_right(connection: WriteConnection, seed: int) -> None:
    """In each period that is returned, the asset is reached at this depth. Without a truncation, none is missing."""
    rng = random.Random(seed)
    graphs = await write_random_graphs(connection, rng, GRAPHS)
    for _ in range(4):
        direction, max_depth, (since, until) = rng.choice(list(Direction)), rng.choice((1, 2, 5, 100)), any_window(rng)
        whole = WalkQuery(direction, max_depth, NO_BOUNDS)
        bounds = rng.choice((Bounds(rng.randint(1, 6), 10**6, 10**6), Bounds(10**6, rng.randint(0, 9), 10**6)))
        bounded = WalkQuery(direction, max_depth, bounds)
        for root_id in rng.sample(sorted(graphs.uids), 12):
            window = WalkWindow(root_id, since, until)
            cut = await reached_in_window(connection, window, bounded)
            full = await reached_in_window(connection, window, whole)
            all_depths = {it.asset_id: it for it in full.assets}
            for asset in cut.assets:
                for period in asset.depths:
                    for instant in (period.since, period.until - MICROSECOND):
                        assert depth_at(all_depths[asset.asset_id], instant) == period.depth
            all_links = {it.link_id: it.periods for it in full.links}
            for link in cut.links:
                assert intersect(link.periods, all_links[link.link_id]) == link.periods
            if cut.truncation is None:
                assert cut.assets == full.assets
                assert cut.links == full.links or cut.links_truncation is not None
            assert len(cut.assets) <= bounds.assets
            assert sum(len(it.periods) for it in cut.links) <= bounds.links

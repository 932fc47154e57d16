"""Walks against a plain breadth-first search, and what is computed of them against networkx, on thousands of random graphs."""

import math
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import networkx
import pytest

from db.author import Author
from db.connection import WriteConnection
from db.database import Database
from db.errors import HeadwaterError
from db.lineage.graph import components
from db.lineage.path import best_confidences, find_paths
from db.lineage.walk import (
    AssetFilter,
    Bounds,
    Direction,
    LinkFilter,
    Truncation,
    TruncationReason,
    Walk,
    WalkPage,
    WalkQuery,
    links_of_pages,
    subgraphs_of_walks,
    walks,
)
from db.temporal.verification import verify_tenant
from tests.builders import day
from tests.db.lineage.random_graphs import DAYS, KINDS, PRODUCERS, TYPES, World, make, neighbours, shown

pytestmark = pytest.mark.temporal

SEEDS = range(48)
GRAPHS = 50

NO_BOUNDS = Bounds(10**6, 10**6, 10**6)


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[WriteConnection]:
    """To write into, without leaving anything."""
    with suppress(HeadwaterError):
        async with database.transaction(1, Author("world")) as connection:
            yield connection
            raise HeadwaterError("nothing of it is kept")


def plain_walk(
    world: World, adjacent: dict[int, list[int]], root: int, query: WalkQuery
) -> tuple[list[list[int]], Truncation | None]:
    """The same as a walk: level by level, assets and links in order of the ids, until a bound is met."""
    bounds, levels, seen, looked = query.bounds, [[root]], {root}, 0
    while len(levels) <= query.max_depth and len(seen) - 1 <= bounds.assets:
        onward = [far for near in levels[-1] for far in adjacent.get(near, ())][: bounds.links + 1 - looked]
        looked += len(onward)
        level = sorted(set(onward) - seen)
        if not level:
            break
        seen |= set(level)
        levels.append(level)
    reached = [it for level in levels[1:] for it in level]
    truncated = None
    if len(reached) > bounds.assets:
        truncated = Truncation(TruncationReason.ASSETS, bounds.assets)
    elif looked > bounds.links:
        truncated = Truncation(TruncationReason.LINKS, bounds.links)
    kept = set(reached[: bounds.assets])
    return [[it for it in level if it in kept and shown(world, it, query.assets)] for level in levels[1:]], truncated


def any_query(chance: random.Random) -> WalkQuery:
    def maybe(value: Any) -> Any:
        return value if chance.random() < 0.3 else None

    return WalkQuery(
        chance.choice(list(Direction)),
        chance.choice((1, 2, 3, 5, 100)),
        chance.choice(
            (
                NO_BOUNDS,
                NO_BOUNDS,
                NO_BOUNDS,
                Bounds(chance.randint(1, 6), 10**6, 10**6),
                Bounds(10**6, chance.randint(0, 9), 10**6),
            )
        ),
        LinkFilter(
            types=maybe(tuple(chance.sample(TYPES, 2))),
            producers=maybe(tuple(it for it in chance.sample(PRODUCERS, 2) if it)),
            min_confidence=maybe(0.5),
            seen_since=maybe(day(chance.randrange(DAYS))),
        ),
        AssetFilter(kinds=maybe(chance.choice([("ENTITY",), ("PRODUCT",)])), entity_types=maybe(tuple(chance.sample(KINDS, 1)))),
    )


def any_instant(chance: random.Random) -> datetime:
    return day(chance.randrange(-2, DAYS + 1)) + timedelta(microseconds=chance.choice((-1, 0, 0, 1)))


@pytest.mark.parametrize("seed", SEEDS)
async def test_walks_are_those_of_a_plain_search(connection: WriteConnection, seed: int) -> None:
    chance = random.Random(seed)
    world = await make(connection, chance, GRAPHS)
    for _ in range(6):
        query = any_query(chance)
        # each root at an instant of its own, or all at one; one root at several
        instants = [any_instant(chance) for _ in range(chance.choice((1, 1, 3)))]
        adjacent = {it: neighbours(world.standing(it, query.links), query.direction) for it in instants}
        roots = chance.choices(sorted(world.uids), k=chance.choice((1, 7, len(world.uids))))
        for walk in await walks(connection, [(root, chance.choice(instants)) for root in roots], query):
            levels, truncated = plain_walk(world, adjacent[walk.instant], walk.root_id, query)
            assert [list(it) for it in walk.shown] == levels
            assert walk.truncated == truncated
    assert (await verify_tenant(connection)).differences == []


def graph_of(standing: Sequence[Any], members: set[int]) -> "networkx.DiGraph[int]":
    """The links among some assets; of several between two, the most trusted."""
    graph: networkx.DiGraph[int] = networkx.DiGraph()
    graph.add_nodes_from(members)
    for it, state in standing:
        if {it.source, it.target} <= members:
            known = graph.get_edge_data(it.source, it.target, {"confidence": -1.0})["confidence"]
            graph.add_edge(it.source, it.target, confidence=max(known, state["confidence"]))
    return graph


@pytest.mark.parametrize("seed", SEEDS)
async def test_links_cycles_and_trust_are_those_of_the_graph(connection: WriteConnection, seed: int) -> None:
    chance = random.Random(seed)
    world = await make(connection, chance, GRAPHS)
    for _ in range(2):
        query, instants = any_query(chance), [any_instant(chance) for _ in range(2)]
        standings = {it: world.standing(it, query.links) for it in instants}
        roots = chance.sample(sorted(world.uids), 60)
        found = await walks(connection, [(root, chance.choice(instants)) for root in roots], query)
        for walk, graph in zip(found, await subgraphs_of_walks(connection, found, query), strict=True):
            members, standing = set(walk.members), standings[walk.instant]
            expected = graph_of(standing, members)
            assert graph.cut is None or query.bounds.links < len(standing)
            if graph.cut is not None:
                continue
            assert sorted(graph.links) == sorted(it.link_id for it, _ in standing if {it.source, it.target} <= members)
            circles = [sorted(it) for it in networkx.strongly_connected_components(expected) if len(it) > 1]
            assert components(graph.sources, graph.targets) == sorted(circles)
            assert_trusted(best_confidences(walk.root_id, graph, query.direction), walk, expected)
        await assert_each_link_comes_once(connection, chance, standings, found, query)


def assert_trusted(trusted: dict[int, float], walk: Walk, graph: "networkx.DiGraph[int]") -> None:
    """The greatest product is the path of the least sum of logarithms; a confidence of 0 cannot be told that way."""
    onward = graph.reverse() if walk.query.direction is Direction.UPSTREAM else graph
    sure: networkx.DiGraph[int] = networkx.DiGraph()
    sure.add_node(walk.root_id)
    for source, target in onward.edges:
        if confidence := onward.edges[source, target]["confidence"]:
            sure.add_edge(source, target, weight=-math.log(confidence))
    least = networkx.single_source_dijkstra_path_length(sure, walk.root_id)
    for asset_id in walk.members:
        expected = math.exp(-least[asset_id]) if asset_id in least else 0.0
        assert trusted[asset_id] == pytest.approx(expected)


async def assert_each_link_comes_once(
    connection: WriteConnection, chance: random.Random, standings: dict[datetime, Any], found: Sequence[Walk], query: WalkQuery
) -> None:
    """Page by page, every link among what is shown, with the page of its later end."""
    cuts = [[0, *sorted(chance.choices(range(walk.total + 1), k=2)), walk.total] for walk in found]
    stretches = [WalkPage(walk, *pair) for walk, cut in zip(found, cuts, strict=True) for pair in pairwise(cut)]
    pages = await links_of_pages(connection, stretches, query)
    for walk in found:
        place = {walk.root_id: -1} | {step.asset_id: number for number, step in enumerate(walk.steps(0, walk.total))}
        expected = {
            it.link_id: max(place[it.source], place[it.target])
            for it, _ in standings[walk.instant]
            if {it.source, it.target} <= place.keys()
        }
        for stretch, page in zip(stretches, pages, strict=True):
            if stretch.walk is walk:
                due = {it for it, later in expected.items() if stretch.start <= later < stretch.stop}
                given = {row.link_id for row in page.rows}
                assert given == due if page.cut is None else given <= due


@pytest.mark.parametrize("seed", SEEDS)
async def test_paths_are_those_of_the_graph(connection: WriteConnection, seed: int) -> None:
    chance = random.Random(seed)
    world = await make(connection, chance, GRAPHS)
    instant = any_instant(chance)
    standing = world.standing(instant)
    graph = graph_of(standing, set(world.uids))
    for _ in range(12):
        origin, goal = chance.sample(chance.choice(world.components), 2)
        query = WalkQuery(Direction.DOWNSTREAM, chance.choice((1, 2, 4, 20)), NO_BOUNDS)
        every = sorted(
            (tuple(it) for it in networkx.all_simple_paths(graph, origin, goal, cutoff=query.max_depth)),
            key=lambda it: (len(it), it),
        )
        found = await find_paths(connection, origin, goal, query, instant, most=50, only_shortest=False)
        assert [it.assets for it in found.paths] == every[:50]
        assert found.exhaustive == (len(every) <= 50)
        shortest = [it for it in every if len(it) == len(every[0])]
        found = await find_paths(connection, origin, goal, query, instant, most=2, only_shortest=True)
        assert [it.assets for it in found.paths] == shortest[:2]
        assert found.exhaustive == (len(shortest) <= 2)
        for it in found.paths:
            confidences = [graph.edges[step]["confidence"] for step in pairwise(it.assets)]
            assert it.confidence == pytest.approx(math.prod(confidences))
            assert len(it.links) == len(confidences)

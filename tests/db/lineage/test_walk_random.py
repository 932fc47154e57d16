"""Walks compared with a plain breadth-first search, and cycles, confidences and paths with networkx, on random graphs."""

import math
import random
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from itertools import chain, pairwise
from typing import Any

import networkx
import pytest

from db.computation import Computation
from db.connection import WriteConnection
from db.database import Database
from db.lineage.graph import find_cycles
from db.lineage.path import best_confidences, find_paths
from db.lineage.subgraph import Subgraph, links_of_pages, subgraph_of_page, subgraphs_of_walks
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
    run_walks,
)
from db.temporal.verification import verify_tenant
from tests.builders import day
from tests.db.lineage.random_graphs import (
    DAYS,
    ENTITY_TYPES,
    LINK_TYPES,
    PRODUCERS,
    LinkModel,
    LinkState,
    RandomGraphs,
    adjacency,
    is_visible,
    write_random_graphs,
)
from tests.db.plans import rolled_back
from tests.randomness import seeds

pytestmark = [pytest.mark.random, pytest.mark.temporal]

SEEDS = seeds(quick=12, soak=96)
GRAPHS = 50

NO_BOUNDS = Bounds(10**6, 10**6, 10**6)

Effective = Sequence[tuple[LinkModel, LinkState]]


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[WriteConnection]:
    """Connection whose writes are rolled back."""
    async with rolled_back(database) as connection:
        yield connection


def plain_walk(
    graphs: RandomGraphs, neighbours: dict[int, list[int]], root_id: int, query: WalkQuery
) -> tuple[list[list[int]], Truncation | None]:
    """Walk in plain Python, assets and links in order of the ids, until a bound is met. Return the visible levels."""
    bounds, levels, visited, examined = query.bounds, [[root_id]], {root_id}, 0
    while len(levels) <= query.max_depth and len(visited) - 1 <= bounds.assets:
        far_ends = [far for near in levels[-1] for far in neighbours.get(near, ())][: bounds.links + 1 - examined]
        examined += len(far_ends)
        level = sorted(set(far_ends) - visited)
        if not level:
            break
        visited |= set(level)
        levels.append(level)
    asset_ids = [asset_id for level in levels[1:] for asset_id in level]
    truncation = None
    if len(asset_ids) > bounds.assets:
        truncation = Truncation(TruncationReason.ASSETS, bounds.assets)
    elif examined > bounds.links:
        truncation = Truncation(TruncationReason.LINKS, bounds.links)
    kept = set(asset_ids[: bounds.assets])
    return [[it for it in level if it in kept and is_visible(graphs, it, query.assets)] for level in levels[1:]], truncation


def any_query(rng: random.Random) -> WalkQuery:
    def maybe(value: Any) -> Any:
        return value if rng.random() < 0.3 else None

    return WalkQuery(
        rng.choice(list(Direction)),
        rng.choice((1, 2, 3, 5, 100)),
        rng.choice(
            (
                NO_BOUNDS,
                NO_BOUNDS,
                NO_BOUNDS,
                Bounds(rng.randint(1, 6), 10**6, 10**6),
                Bounds(10**6, rng.randint(0, 9), 10**6),
            )
        ),
        LinkFilter(
            types=maybe(tuple(rng.sample(LINK_TYPES, 2))),
            producers=maybe(tuple(it for it in rng.sample(PRODUCERS, 2) if it)),
            min_confidence=maybe(0.5),
            seen_since=maybe(day(rng.randrange(DAYS))),
        ),
        AssetFilter(kinds=maybe(rng.choice([("ENTITY",), ("PRODUCT",)])), entity_types=maybe(tuple(rng.sample(ENTITY_TYPES, 1)))),
    )


def any_instant(rng: random.Random) -> datetime:
    return day(rng.randrange(-2, DAYS + 1)) + timedelta(microseconds=rng.choice((-1, 0, 0, 1)))


@pytest.mark.parametrize("seed", SEEDS)
async def test_walks_equal_those_of_a_plain_search(connection: WriteConnection, seed: int) -> None:
    rng = random.Random(seed)
    graphs = await write_random_graphs(connection, rng, GRAPHS)
    for _ in range(6):
        query = any_query(rng)
        # all roots at one instant, or each at one of three; a root may come several times
        instants = [any_instant(rng) for _ in range(rng.choice((1, 1, 3)))]
        neighbours = {it: adjacency(graphs.effective_links(it, query.links), query.direction) for it in instants}
        root_ids = rng.choices(sorted(graphs.uids), k=rng.choice((1, 7, len(graphs.uids))))
        for walk in await run_walks(connection, [(root_id, rng.choice(instants)) for root_id in root_ids], query):
            levels, truncation = plain_walk(graphs, neighbours[walk.instant], walk.root_id, query)
            assert [list(level) for level in walk.visible_levels] == levels
            assert walk.truncation == truncation
    assert (await verify_tenant(connection)).differences == []


def digraph_of(effective: Effective, asset_ids: set[int]) -> "networkx.DiGraph[int]":
    """Build the graph of the links among some assets; of several between two, it has the most trusted."""
    graph: networkx.DiGraph[int] = networkx.DiGraph()
    graph.add_nodes_from(asset_ids)
    for link, state in effective:
        if {link.source, link.target} <= asset_ids:
            known = graph.get_edge_data(link.source, link.target, {"confidence": -1.0})["confidence"]
            graph.add_edge(link.source, link.target, confidence=max(known, state["confidence"]))
    return graph


@pytest.mark.parametrize("seed", SEEDS)
async def test_links_cycles_and_confidences_equal_those_of_the_graph(connection: WriteConnection, seed: int) -> None:
    rng = random.Random(seed)
    graphs = await write_random_graphs(connection, rng, GRAPHS)
    for _ in range(2):
        query, instants = any_query(rng), [any_instant(rng) for _ in range(2)]
        effective_at = {it: graphs.effective_links(it, query.links) for it in instants}
        root_ids = rng.sample(sorted(graphs.uids), 60)
        walks = await run_walks(connection, [(root_id, rng.choice(instants)) for root_id in root_ids], query)
        subgraphs = await subgraphs_of_walks(connection, walks, query)
        await assert_links_of_a_whole_walk_are_its_subgraph(connection, rng, walks, subgraphs, query)
        for walk, subgraph in zip(walks, subgraphs, strict=True):
            asset_ids, effective = set(walk.asset_ids), effective_at[walk.instant]
            expected = digraph_of(effective, asset_ids)
            assert subgraph.truncation_reason is None or query.bounds.links < len(effective)
            if subgraph.truncation_reason is not None:
                continue
            assert sorted(subgraph.links) == sorted(
                link.link_id for link, _ in effective if {link.source, link.target} <= asset_ids
            )
            cycles = [sorted(it) for it in networkx.strongly_connected_components(expected) if len(it) > 1]
            assert find_cycles(subgraph.sources, subgraph.targets, Computation(60)) == sorted(cycles)
            assert_confidences(best_confidences(walk.root_id, subgraph, query.direction, Computation(60)), walk, expected)
        await assert_each_link_is_on_one_page(connection, rng, effective_at, walks, query)


def assert_confidences(confidences: dict[int, float], walk: Walk, graph: "networkx.DiGraph[int]") -> None:
    """Compare the greatest products with the least sums of logarithms. A link with confidence 0 has no logarithm."""
    onward = graph.reverse() if walk.query.direction is Direction.UPSTREAM else graph
    weighted: networkx.DiGraph[int] = networkx.DiGraph()
    weighted.add_node(walk.root_id)
    for source, target in onward.edges:
        if confidence := onward.edges[source, target]["confidence"]:
            weighted.add_edge(source, target, weight=-math.log(confidence))
    least = networkx.single_source_dijkstra_path_length(weighted, walk.root_id)
    for asset_id in walk.asset_ids:
        expected = math.exp(-least[asset_id]) if asset_id in least else 0.0
        assert confidences[asset_id] == pytest.approx(expected)


async def assert_links_of_a_whole_walk_are_its_subgraph(
    connection: WriteConnection, rng: random.Random, walks: Sequence[Walk], subgraphs: Sequence[Subgraph], query: WalkQuery
) -> None:
    """Compare the subgraphs of pages that hold a whole walk. Other pages, and those whose links are cut, have none."""
    stops = [it.visible_count + rng.choice((-1, 0, 1)) for it in walks]
    starts = [min(rng.choice((0, 0, 0, 1)), it.visible_count) for it in walks]
    pages = [WalkPage(walk, start, max(start, stop)) for walk, start, stop in zip(walks, starts, stops, strict=True)]
    for page, links, subgraph in zip(pages, await links_of_pages(connection, pages, query), subgraphs, strict=True):
        found = subgraph_of_page(page, links)
        shown = {step.asset_id for step in page.walk.steps(0, page.stop)}
        is_whole = page.start == 0 and shown == set(chain.from_iterable(page.walk.levels))
        assert (found is not None) == (is_whole and links.truncation_reason is None)
        if found is not None:
            assert sorted(zip(*found[:4], strict=True)) == sorted(zip(*subgraph[:4], strict=True))


async def assert_each_link_is_on_one_page(
    connection: WriteConnection,
    rng: random.Random,
    effective_at: dict[datetime, Any],
    walks: Sequence[Walk],
    query: WalkQuery,
) -> None:
    """Split each walk into pages. Every link among the visible assets has to be on the page of its later end."""
    limits = [[0, *sorted(rng.choices(range(it.visible_count + 1), k=2)), it.visible_count] for it in walks]
    pages = [WalkPage(walk, *pair) for walk, indexes in zip(walks, limits, strict=True) for pair in pairwise(indexes)]
    links_by_page = await links_of_pages(connection, pages, query)
    for walk in walks:
        index_of = {step.asset_id: index for index, step in enumerate(walk.steps(0, walk.visible_count))}
        index_of[walk.root_id] = -1
        later_ends = {
            link.link_id: max(index_of[link.source], index_of[link.target])
            for link, _ in effective_at[walk.instant]
            if {link.source, link.target} <= index_of.keys()
        }
        for page, links in zip(pages, links_by_page, strict=True):
            if page.walk is walk:
                expected = {link_id for link_id, index in later_ends.items() if page.start <= index < page.stop}
                actual = {row.link_id for row in links.rows}
                assert actual == expected if links.truncation_reason is None else actual <= expected


@pytest.mark.parametrize("seed", SEEDS)
async def test_paths_equal_those_of_the_graph(connection: WriteConnection, seed: int) -> None:
    rng = random.Random(seed)
    graphs = await write_random_graphs(connection, rng, GRAPHS)
    instant = any_instant(rng)
    graph = digraph_of(graphs.effective_links(instant), set(graphs.uids))
    for _ in range(12):
        source_id, target_id = rng.sample(rng.choice(graphs.components), 2)
        query = WalkQuery(Direction.DOWNSTREAM, rng.choice((1, 2, 4, 20)), NO_BOUNDS)
        every = sorted(
            (tuple(it) for it in networkx.all_simple_paths(graph, source_id, target_id, cutoff=query.max_depth)),
            key=lambda it: (len(it), it),
        )
        found = await find_paths(connection, source_id, target_id, query, instant, limit=50, only_shortest=False)
        assert [path.assets for path in found.paths] == every[:50]
        assert found.exhaustive == (len(every) <= 50)
        shortest = [it for it in every if len(it) == len(every[0])]
        found = await find_paths(connection, source_id, target_id, query, instant, limit=2, only_shortest=True)
        assert [path.assets for path in found.paths] == shortest[:2]
        assert found.exhaustive == (len(shortest) <= 2)
        for path in found.paths:
            confidences = [graph.edges[step]["confidence"] for step in pairwise(path.assets)]
            assert path.confidence == pytest.approx(math.prod(confidences))
            assert len(path.links) == len(confidences)

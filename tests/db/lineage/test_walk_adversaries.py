"""Graphs that hurt. Each is walked beside an ordinary root, which comes back whole; what is looked at is counted, not timed."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import pairwise, product
from typing import Any

import asyncpg
import pytest
from sqlalchemy import event

from db.database import Database
from db.lineage.path import find_paths
from db.lineage.walk import (
    Bounds,
    Direction,
    Truncation,
    TruncationReason,
    WalkPage,
    WalkQuery,
    links_of_pages,
    subgraphs_of_walks,
    walks,
)
from tests.databases import shared_database

Edges = list[tuple[int, int]]

# Each graph has numbers of its own; the first of them is its root.
ORDINARY = 1
CHAIN, SHORTCUT = 10_000, 100
LADDER = 1_000
LAYERS = 60
CHAINED = 10_000
HUB = 100_000
TARGETS = 100_000
CLIQUE = 300_000
CLIQUED = 400
CIRCLE = 310_000
CIRCLED = 1_000
TREE = 400_000
BRANCHES, LEVELS = 10, 5

BOUNDS = Bounds()


def ordinary() -> Edges:
    """A root that reaches 12 assets in 3 steps."""
    return (
        [(1, number) for number in range(2, 6)] + [(number, number * 2) for number in range(3, 6)] + [(6, 11), (8, 11), (8, 12)]
    )


def ladder() -> Edges:
    """2 to the power of 60 paths lead through it."""
    rungs = [[LADDER]] + [[LADDER + layer * 2 - 1, LADDER + layer * 2] for layer in range(1, LAYERS + 1)]
    return [pair for here, there in pairwise(rungs) for pair in product(here, there)]


def chain() -> Edges:
    steps = list(pairwise(range(CHAINED, CHAINED + CHAIN)))
    return steps + [(it, it + SHORTCUT) for it in range(CHAINED, CHAINED + CHAIN - SHORTCUT, SHORTCUT)]


def hub() -> Edges:
    return [(HUB, HUB + number) for number in range(1, TARGETS + 1)]


def clique() -> Edges:
    members = range(CLIQUE, CLIQUE + CLIQUED)
    return [(source, target) for source, target in product(members, members) if source != target]


def circle() -> Edges:
    members = list(range(CIRCLE, CIRCLE + CIRCLED))
    return list(pairwise([*members, members[0]]))


def tree() -> Edges:
    """Five levels below its root, each asset with ten of its own."""
    inner = sum(BRANCHES**level for level in range(LEVELS))
    return [(TREE + here, TREE + here * BRANCHES + branch) for here in range(inner) for branch in range(1, BRANCHES + 1)]


GRAPHS: list[Callable[[], Edges]] = [ordinary, ladder, chain, hub, clique, circle, tree]

_FILL = """
SET session_replication_role = replica;
CREATE TEMPORARY TABLE ends AS SELECT source AS id FROM edges UNION SELECT target FROM edges;
INSERT INTO asset (tenant_id, id, uid, kind) OVERRIDING SYSTEM VALUE SELECT 1, id, gen_random_uuid(), 'PRODUCT' FROM ends;
INSERT INTO asset_lifetime (tenant_id, asset_id, valid_from, valid_to) SELECT 1, id, '2026-01-01', 'infinity' FROM ends;
INSERT INTO lineage_link (tenant_id, uid, source_id, target_id) SELECT 1, gen_random_uuid(), source, target FROM edges;
ALTER TABLE lineage_link_effective DROP CONSTRAINT lineage_link_effective_overlap;
INSERT INTO lineage_link_effective (tenant_id, link_id, valid_from, valid_to, source_id, target_id, type, confidence, metadata, digest)
SELECT 1, id, '2026-01-01', 'infinity', source_id, target_id, 'DIRECT', 1, '{}', gen_random_uuid() FROM lineage_link;
"""


@pytest.fixture(scope="module")
def crowded(server: str) -> Iterator[str]:
    """A database with all of these graphs in it, beside each other."""
    with shared_database(server) as address:
        with asyncio.Runner() as runner:
            runner.run(_fill(address))
        yield address


async def _fill(address: str) -> None:
    owner = await asyncpg.connect(address)
    await owner.execute("CREATE TEMPORARY TABLE edges (source bigint, target bigint)")
    await owner.copy_records_to_table("edges", records=[edge for graph in GRAPHS for edge in graph()])
    await owner.execute(_FILL)
    await owner.execute("VACUUM ANALYZE")
    await owner.close()


@pytest.fixture
async def graphs(crowded: str) -> AsyncIterator[Database]:
    opened = Database(crowded, pool_size=1)
    yield opened
    await opened.close()


class visited:  # noqa: N801
    """Counts the rows that statements within look at: those of links, and those that the walk is made of."""

    def __init__(self, database: Database) -> None:
        self._engine = database.engine.sync_engine
        self.links = 0
        self.walked = 0

    def __enter__(self) -> "visited":
        event.listen(self._engine, "before_cursor_execute", self._explain)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(self._engine, "before_cursor_execute", self._explain)

    def _explain(self, _connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, _many: bool) -> None:
        if "RECURSIVE asked" in statement:
            explaining = context.dialect.do_execute
            other = context.root_connection.connection.cursor()
            explaining(other, f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}", parameters)
            (answer,) = other.fetchall()[0]
            for node in _nodes((json.loads(answer) if isinstance(answer, str) else answer)[0]["Plan"]):
                rows = node["Actual Rows"] * node["Actual Loops"]
                if node.get("Relation Name") == "lineage_link_effective":
                    assert node["Node Type"] == "Index Only Scan"
                    self.links += round(rows)
                elif node["Node Type"] == "Recursive Union":
                    self.walked += round(rows)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from _nodes(part)


@pytest.mark.parametrize(
    ("root", "depth", "reached", "links", "cut"),
    [
        pytest.param(LADDER, 100, 2 * LAYERS, 2 + 4 * (LAYERS - 1), None, id="ladder"),
        pytest.param(CHAINED, 100, 5_000, None, TruncationReason.ASSETS, id="chain"),
        pytest.param(HUB, 5, 5_000, BOUNDS.links + 1, TruncationReason.ASSETS, id="hub"),
        pytest.param(CLIQUE, 5, CLIQUED - 1, BOUNDS.links + 1, TruncationReason.LINKS, id="clique"),
        pytest.param(CLIQUE, 1, CLIQUED - 1, CLIQUED - 1, None, id="clique, one step"),
        pytest.param(CIRCLE, 100, 100, 100, None, id="circle"),
        pytest.param(TREE, 3, 1_110, 1_110, None, id="tree, three levels"),
        pytest.param(TREE, 5, 5_000, 11_110, TruncationReason.ASSETS, id="tree"),
    ],
)
async def test_an_adversary_is_bounded_and_starves_nobody(
    graphs: Database, root: int, depth: int, reached: int, links: int | None, cut: TruncationReason | None
) -> None:
    query = WalkQuery(Direction.DOWNSTREAM, depth, BOUNDS)
    async with graphs.snapshot(1) as connection:
        with visited(graphs) as looked:
            hurt, whole = await walks(connection, [(root, None), (ORDINARY, None)], query)
        assert (hurt.total, hurt.truncated and hurt.truncated.reason) == (reached, cut)
        assert [list(level) for level in whole.shown] == [[2, 3, 4, 5], [6, 8, 10], [11, 12]][:depth]
        assert whole.truncated is None
        ordinary_links = len(ordinary()) if depth > 1 else 4
        if links is not None:
            assert looked.links == links + ordinary_links
        # each asset once, each link once, and a page a level
        assert looked.links <= BOUNDS.links + 1 + ordinary_links
        assert looked.walked <= looked.links + len(hurt.shown) + len(whole.shown) + 2 * 3


async def test_a_chain_with_shortcuts_is_walked_by_the_shortest_way(graphs: Database) -> None:
    query = WalkQuery(Direction.DOWNSTREAM, 100, Bounds(100_000, 100_000))
    async with graphs.snapshot(1) as connection:
        (walk,) = await walks(connection, [(CHAINED, None)], query)
    depths = walk.depths
    assert {it: depths[it] for it in depths} == {
        it: steps for it in range(CHAINED, CHAINED + CHAIN) if (steps := shortest(it - CHAINED)) <= 100
    }


def shortest(distance: int) -> int:
    """By shortcuts, which begin at every hundredth and all end on one but the last; then step by step."""
    jumps = min(distance // SHORTCUT, (CHAIN - 1) // SHORTCUT)
    return jumps + distance - jumps * SHORTCUT


async def test_a_circle_is_one_cycle_and_ends_by_itself(graphs: Database) -> None:
    query = WalkQuery(Direction.UPSTREAM, 10_000, BOUNDS)
    async with graphs.snapshot(1) as connection:
        (walk,) = await walks(connection, [(CIRCLE, None)], query)
        (graph,) = await subgraphs_of_walks(connection, [walk], query)
    assert [list(it) for it in walk.shown] == [[CIRCLE + number] for number in range(CIRCLED - 1, 0, -1)]
    assert len(graph.links) == CIRCLED


async def test_links_beyond_the_bound_are_owned_up_to(graphs: Database) -> None:
    """400 assets are all reached in one step, by 399 links; but there are 159 600 among them."""
    query = WalkQuery(Direction.DOWNSTREAM, 1, BOUNDS)
    async with graphs.snapshot(1) as connection:
        (walk,) = await walks(connection, [(CLIQUE, None)], query)
        first, last = await links_of_pages(connection, [WalkPage(walk, 0, 20), WalkPage(walk, 200, 399)], query)
    assert walk.truncated is None
    assert first.cut is None
    assert len(first.rows) == 21 * 20
    assert last.cut is TruncationReason.LINKS
    assert len(last.rows) == BOUNDS.links


async def test_what_is_reached_last_may_be_a_hub(graphs: Database) -> None:
    """Its other links are looked at in vain, and not forever."""
    query = WalkQuery(Direction.UPSTREAM, 1, BOUNDS)
    async with graphs.snapshot(1) as connection:
        (walk,) = await walks(connection, [(HUB + 5, None)], query)
        (found,) = await links_of_pages(connection, [WalkPage(walk, 0, 1)], query)
    assert [it.asset_id for it in walk.steps(0, 9)] == [HUB]
    assert found.cut is None
    assert [(it.source_id, it.target_id) for it in found.rows] == [(HUB, HUB + 5)]


@pytest.mark.parametrize("only_shortest", [True, False])
async def test_of_countless_paths_the_first_come_at_once(graphs: Database, only_shortest: bool) -> None:
    query = WalkQuery(Direction.DOWNSTREAM, 100, BOUNDS)
    async with graphs.snapshot(1) as connection:
        found = await find_paths(connection, LADDER, LADDER + 2 * LAYERS, query, None, most=3, only_shortest=only_shortest)
    assert not found.exhaustive
    assert [len(it.assets) for it in found.paths] == [LAYERS + 1] * 3
    assert len({it.assets for it in found.paths}) == 3


async def test_time_cuts_too(graphs: Database) -> None:
    query = WalkQuery(Direction.DOWNSTREAM, 100, Bounds(milliseconds=0))
    async with graphs.snapshot(1) as connection:
        (walk,) = await walks(connection, [(LADDER, None)], query)
    assert walk.truncated == Truncation(TruncationReason.TIME, 0)
    assert walk.total == 0

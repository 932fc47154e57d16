"""Walks of graphs that are expensive to search: hubs, cliques, long chains and countless paths.

Each is walked beside an ordinary root, whose walk has to be complete. The tests count examined rows instead of measuring time.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import pairwise, product
from typing import Any

import asyncpg
import pytest

from db.database import Database
from db.lineage.path import find_paths
from db.lineage.subgraph import links_of_pages, subgraphs_of_walks
from db.lineage.walk import Bounds, Direction, Truncation, TruncationReason, WalkPage, WalkQuery, run_walks
from db.rows import Row
from tests.databases import shared_database
from tests.hooks import AttachedHook, explain

Edges = list[tuple[int, int]]

# The ids of each graph begin at another number, which is its root.
ORDINARY = 1
LADDER = 1_000
LADDER_LAYERS = 60
CHAIN = 10_000
CHAIN_LENGTH, SHORTCUT = 10_000, 100
HUB = 100_000
HUB_TARGETS = 100_000
CLIQUE = 300_000
CLIQUE_SIZE = 400
CIRCLE = 310_000
CIRCLE_SIZE = 1_000
TREE = 400_000
TREE_BRANCHES, TREE_LEVELS = 10, 5
NARROW, WIDE = 600_000, 700_000
NARROW_WIDTH, WIDE_WIDTH, LEVELS = 50, 200, 100

BOUNDS = Bounds()

pytestmark = [pytest.mark.slow(25), pytest.mark.xdist_group("walk adversaries")]


def ordinary() -> Edges:
    """A root that reaches 12 assets in 3 steps."""
    return (
        [(1, number) for number in range(2, 6)] + [(number, number * 2) for number in range(3, 6)] + [(6, 11), (8, 11), (8, 12)]
    )


def ladder() -> Edges:
    """Layers of two assets, through which 2 to the power of 60 paths lead."""
    layers = [[LADDER]] + [[LADDER + layer * 2 - 1, LADDER + layer * 2] for layer in range(1, LADDER_LAYERS + 1)]
    return [edge for layer, following in pairwise(layers) for edge in product(layer, following)]


def chain() -> Edges:
    """A chain, in which every hundredth asset has a shortcut to the next hundredth."""
    members = range(CHAIN, CHAIN + CHAIN_LENGTH)
    shortcuts = [(it, it + SHORTCUT) for it in range(CHAIN, CHAIN + CHAIN_LENGTH - SHORTCUT, SHORTCUT)]
    return list(pairwise(members)) + shortcuts


def hub() -> Edges:
    return [(HUB, HUB + number) for number in range(1, HUB_TARGETS + 1)]


def clique() -> Edges:
    members = range(CLIQUE, CLIQUE + CLIQUE_SIZE)
    return [(source, target) for source, target in product(members, members) if source != target]


def circle() -> Edges:
    members = list(range(CIRCLE, CIRCLE + CIRCLE_SIZE))
    return list(pairwise([*members, members[0]]))


def tree() -> Edges:
    """Five levels below the root, each asset with ten children."""
    inner = sum(TREE_BRANCHES**level for level in range(TREE_LEVELS))
    return [
        (TREE + parent, TREE + parent * TREE_BRANCHES + branch)
        for parent in range(inner)
        for branch in range(1, TREE_BRANCHES + 1)
    ]


def layers(root: int, width: int) -> Edges:
    """A root and a hundred levels of equal width, each asset with links to two of the next level."""

    def asset(level: int, number: int) -> int:
        return root + 1 + level * width + number % width

    first = [(root, asset(0, number)) for number in range(width)]
    return first + [
        (asset(level, number), asset(level + 1, number + step))
        for level in range(LEVELS - 1)
        for number in range(width)
        for step in (0, 1)
    ]


GRAPHS: list[Callable[[], Edges]] = [
    ordinary,
    ladder,
    chain,
    hub,
    clique,
    circle,
    tree,
    lambda: layers(NARROW, NARROW_WIDTH),
    lambda: layers(WIDE, WIDE_WIDTH),
]

_FILL = """
SET session_replication_role = replica;
CREATE TEMPORARY TABLE ends AS SELECT source AS id FROM edges UNION SELECT target FROM edges;
INSERT INTO asset (tenant_id, id, uid, kind) OVERRIDING SYSTEM VALUE SELECT 1, id, gen_random_uuid(), 'PRODUCT' FROM ends;
INSERT INTO asset_lifetime (tenant_id, asset_id, valid_from, valid_to) SELECT 1, id, '2026-01-01', 'infinity' FROM ends;
INSERT INTO lineage_link (tenant_id, uid, source_id, target_id) SELECT 1, gen_random_uuid(), source, target FROM edges;
ALTER TABLE lineage_link_effective DROP CONSTRAINT lineage_link_effective_overlap;
INSERT INTO lineage_link_effective
  (tenant_id, link_id, valid_from, valid_to, source_id, target_id, type, confidence, metadata, digest)
SELECT 1, id, '2026-01-01', 'infinity', source_id, target_id, 'DIRECT', 1, '{}', gen_random_uuid() FROM lineage_link;
"""


@pytest.fixture(scope="module")
def crowded(server: str) -> Iterator[str]:
    """Address of a database that holds all of these graphs."""
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


class row_counts(AttachedHook):  # noqa: N801
    """Context manager that counts the rows of links that walks within it examine, and the rows of their recursion."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.links = 0
        self.recursion = 0
        # rows of all steps, the elements of arrays among them
        self.rows = 0

    async def before(self, connection: "asyncpg.Connection[Row]", text: str, arguments: Sequence[Any] | None) -> str:
        if "WITH RECURSIVE root " in text:
            self._count(await explain(connection, text, arguments, "ANALYZE, TIMING OFF, FORMAT JSON"))
        return await super().before(connection, text, arguments)

    def _count(self, plan: dict[str, Any]) -> None:
        for node in _nodes(plan):
            rows = node["Actual Rows"] * node["Actual Loops"]
            self.rows += round(rows)
            if node.get("Relation Name") == "lineage_link_effective":
                assert node["Node Type"] == "Index Only Scan"
                self.links += round(rows)
            elif node["Node Type"] == "Recursive Union":
                self.recursion += round(rows)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from _nodes(part)


@pytest.mark.parametrize(
    ("root_id", "depth", "visited", "links", "reason"),
    [
        pytest.param(LADDER, 100, 2 * LADDER_LAYERS, 2 + 4 * (LADDER_LAYERS - 1), None, id="ladder"),
        pytest.param(CHAIN, 100, 5_000, None, TruncationReason.ASSETS, id="chain"),
        pytest.param(HUB, 5, 5_000, BOUNDS.links + 1, TruncationReason.ASSETS, id="hub"),
        pytest.param(CLIQUE, 5, CLIQUE_SIZE - 1, BOUNDS.links + 1, TruncationReason.LINKS, id="clique"),
        pytest.param(CLIQUE, 1, CLIQUE_SIZE - 1, CLIQUE_SIZE - 1, None, id="clique, one step"),
        pytest.param(CIRCLE, 100, 100, 100, None, id="circle"),
        pytest.param(TREE, 3, 1_110, 1_110, None, id="tree, three levels"),
        pytest.param(TREE, 5, 5_000, 11_110, TruncationReason.ASSETS, id="tree"),
    ],
)
async def test_each_walk_of_a_request_stops_at_its_own_bounds(
    graphs: Database, root_id: int, depth: int, visited: int, links: int | None, reason: TruncationReason | None
) -> None:
    query = WalkQuery(Direction.DOWNSTREAM, depth, BOUNDS)
    async with graphs.snapshot(1) as connection:
        with row_counts(graphs) as counted:
            expensive, cheap = await run_walks(connection, [(root_id, None), (ORDINARY, None)], query)
        assert (expensive.visible_count, expensive.truncation and expensive.truncation.reason) == (visited, reason)
        assert [list(level) for level in cheap.visible_levels] == [[2, 3, 4, 5], [6, 8, 10], [11, 12]][:depth]
        assert cheap.truncation is None
        ordinary_links = len(ordinary()) if depth > 1 else 4
        if links is not None:
            assert counted.links == links + ordinary_links
        # each asset once, each link once, and a row a level
        assert counted.links <= BOUNDS.links + 1 + ordinary_links
        level_rows = len(expensive.visible_levels) + len(cheap.visible_levels) + 2 * 3
        assert counted.recursion <= counted.links + level_rows


async def test_the_work_of_a_deep_walk_grows_with_its_assets_not_with_their_square(graphs: Database) -> None:
    query = WalkQuery(Direction.DOWNSTREAM, LEVELS, Bounds(100_000, 100_000))
    rows = {}
    for root_id, width in ((NARROW, NARROW_WIDTH), (WIDE, WIDE_WIDTH)):
        async with graphs.snapshot(1) as connection:
            with row_counts(graphs) as counted:
                (walk,) = await run_walks(connection, [(root_id, None)], query)
        assert [len(level) for level in walk.levels] == [width] * LEVELS
        rows[width] = counted.rows
    assert rows[WIDE_WIDTH] < 1.1 * rows[NARROW_WIDTH] * WIDE_WIDTH / NARROW_WIDTH


async def test_a_chain_with_shortcuts_has_the_depths_of_the_shortest_paths(graphs: Database) -> None:
    query = WalkQuery(Direction.DOWNSTREAM, 100, Bounds(100_000, 100_000))
    async with graphs.snapshot(1) as connection:
        (walk,) = await run_walks(connection, [(CHAIN, None)], query)
    assert walk.depths == {it: steps for it in range(CHAIN, CHAIN + CHAIN_LENGTH) if (steps := shortest(it - CHAIN)) <= 100}


def shortest(distance: int) -> int:
    """Compute the length of the shortest path along the chain: all shortcuts on the way, of which the last asset has none."""
    shortcuts = min(distance // SHORTCUT, (CHAIN_LENGTH - 1) // SHORTCUT)
    return shortcuts + distance - shortcuts * SHORTCUT


async def test_a_circle_is_one_cycle_and_its_walk_ends(graphs: Database) -> None:
    query = WalkQuery(Direction.UPSTREAM, 10_000, BOUNDS)
    async with graphs.snapshot(1) as connection:
        (walk,) = await run_walks(connection, [(CIRCLE, None)], query)
        (graph,) = await subgraphs_of_walks(connection, [walk], query)
    assert [list(level) for level in walk.visible_levels] == [[CIRCLE + number] for number in range(CIRCLE_SIZE - 1, 0, -1)]
    assert len(graph.links) == CIRCLE_SIZE


async def test_a_page_with_too_many_links_reports_its_truncation(graphs: Database) -> None:
    """One step of 399 links reaches all 400 assets, but there are 159 600 links among them."""
    query = WalkQuery(Direction.DOWNSTREAM, 1, BOUNDS)
    async with graphs.snapshot(1) as connection:
        (walk,) = await run_walks(connection, [(CLIQUE, None)], query)
        first, last = await links_of_pages(connection, [WalkPage(walk, 0, 20), WalkPage(walk, 200, 399)], query)
    assert walk.truncation is None
    assert first.truncation_reason is None
    assert len(first.rows) == 21 * 20
    assert last.truncation_reason is TruncationReason.LINKS
    assert len(last.rows) == BOUNDS.links


async def test_a_hub_on_the_last_level_does_not_truncate_the_links_of_its_page(graphs: Database) -> None:
    """The links of the hub to other assets are examined in vain, within the bound on examined links."""
    query = WalkQuery(Direction.UPSTREAM, 1, BOUNDS)
    async with graphs.snapshot(1) as connection:
        (walk,) = await run_walks(connection, [(HUB + 5, None)], query)
        (links,) = await links_of_pages(connection, [WalkPage(walk, 0, 1)], query)
    assert [step.asset_id for step in walk.steps(0, 9)] == [HUB]
    assert links.truncation_reason is None
    assert [(row.source_id, row.target_id) for row in links.rows] == [(HUB, HUB + 5)]


@pytest.mark.parametrize("only_shortest", [True, False])
async def test_the_first_of_countless_paths_are_found(graphs: Database, only_shortest: bool) -> None:
    query = WalkQuery(Direction.DOWNSTREAM, 100, BOUNDS)
    last = LADDER + 2 * LADDER_LAYERS
    async with graphs.snapshot(1) as connection:
        found = await find_paths(connection, LADDER, last, query, None, limit=3, only_shortest=only_shortest)
    assert not found.exhaustive
    assert [len(path.assets) for path in found.paths] == [LADDER_LAYERS + 1] * 3
    assert len({path.assets for path in found.paths}) == 3


async def test_the_time_limit_truncates_a_walk(graphs: Database) -> None:
    query = WalkQuery(Direction.DOWNSTREAM, 100, Bounds(milliseconds=0))
    async with graphs.snapshot(1) as connection:
        (walk,) = await run_walks(connection, [(LADDER, None)], query)
    assert walk.truncation == Truncation(TruncationReason.TIME, 0)
    assert walk.visible_count == 0

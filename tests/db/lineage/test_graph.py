"""Graph algorithms compared with networkx, and on graphs on which recursion or enumeration would fail."""

from collections.abc import Callable

import networkx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.computation import Computation
from db.errors import Timeout
from db.lineage.graph import GraphMetrics, find_cycles, measure_graph
from db.lineage.path import best_confidences, paths_between
from db.lineage.subgraph import Subgraph
from db.lineage.walk import Direction
from tests.randomness import size

NODES = st.integers(-3, 12)
EDGES = st.lists(st.tuples(NODES, NODES), max_size=40)

Edges = list[tuple[int, int]]


def sides(edges: Edges) -> tuple[list[int], list[int]]:
    return [source for source, _ in edges], [target for _, target in edges]


@pytest.mark.random
@given(EDGES)
@settings(max_examples=size(quick=300, soak=10_000))
def test_cycles_and_metrics_equal_those_of_networkx(edges: Edges) -> None:
    graph: networkx.DiGraph[int] = networkx.DiGraph(edges)
    expected = sorted(sorted(it) for it in networkx.strongly_connected_components(graph) if len(it) > 1)
    assert find_cycles(*sides(edges), Computation(60)) == expected
    longest = networkx.dag_longest_path_length(networkx.condensation(graph)) if edges else 0
    assert measure_graph(*sides(edges), Computation(60)) == GraphMetrics(longest, len(expected))


def test_an_empty_graph_has_zero_metrics() -> None:
    assert find_cycles([], [], Computation(60)) == []
    assert measure_graph([], [], Computation(60)) == GraphMetrics(0, 0)


def test_a_cycle_counts_as_one_node_on_the_longest_path() -> None:
    edges = [(1, 2), (2, 3), (3, 4), (4, 2), (4, 5), (1, 5), (7, 8), (8, 7)]
    assert find_cycles(*sides(edges), Computation(60)) == [[2, 3, 4], [7, 8]]
    assert measure_graph(*sides(edges), Computation(60)) == GraphMetrics(2, 2)


def test_an_edge_from_a_node_to_itself_is_no_cycle() -> None:
    assert find_cycles([1, 1], [1, 2], Computation(60)) == []
    assert measure_graph([1, 1], [1, 2], Computation(60)) == GraphMetrics(1, 0)


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ([(it, it + 1) for it in range(100_000)], GraphMetrics(100_000, 0)),
        ([(it, (it + 1) % 100_000) for it in range(100_000)], GraphMetrics(0, 1)),
        ([(0, it) for it in range(1, 100_000)], GraphMetrics(1, 0)),
        ([(it, other) for it in range(400) for other in range(400) if it != other], GraphMetrics(0, 1)),
        ([(2 * layer + a, 2 * layer + 2 + b) for layer in range(60) for a in (0, 1) for b in (0, 1)], GraphMetrics(60, 0)),
    ],
    ids=["chain", "cycle", "hub", "clique", "ladder"],
)
def test_large_graphs_are_measured(edges: Edges, expected: GraphMetrics) -> None:
    assert measure_graph(*sides(edges), Computation(60)) == expected


def test_an_algorithm_ends_with_its_computation() -> None:
    size = 2_000
    sources, targets = list(range(size)), [(it + 1) % size for it in range(size)]
    graph = Subgraph(sources, targets, [0.5] * size, sources, None)
    algorithms: list[Callable[[Computation], object]] = [
        lambda computation: find_cycles(sources, targets, computation),
        lambda computation: measure_graph(sources, targets, computation),
        lambda computation: best_confidences(0, graph, Direction.DOWNSTREAM, computation),
        lambda computation: paths_between(0, size - 1, graph, computation, max_length=size, limit=1, only_shortest=False),
    ]
    cancelled = Computation(60)
    cancelled.cancel()
    for algorithm in algorithms:
        assert algorithm(Computation(60))
        for ended in (Computation(-1), cancelled, CancelledLater()):
            with pytest.raises(Timeout):
                algorithm(ended)


class CancelledLater(Computation):
    """Computation that is cancelled after its first checks, when the graph has been built."""

    def __init__(self) -> None:
        super().__init__(60)
        self.checks = 0

    def check(self) -> None:
        self.checks += 1
        if self.checks > 2:
            self.cancel()
        super().check()

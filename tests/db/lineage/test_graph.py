"""Graph algorithms compared with networkx, and on graphs on which recursion or enumeration would fail."""

from time import monotonic

import networkx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.errors import Timeout
from db.lineage.graph import GraphMetrics, find_cycles, measure_graph
from tests.randomness import size

NODES = st.integers(-3, 12)
EDGES = st.lists(st.tuples(NODES, NODES), max_size=40)

Edges = list[tuple[int, int]]


def sides(edges: Edges) -> tuple[list[int], list[int]]:
    return [source for source, _ in edges], [target for _, target in edges]


@pytest.mark.random
@given(EDGES)
@settings(max_examples=size(quick=1_000, soak=10_000))
def test_cycles_and_metrics_equal_those_of_networkx(edges: Edges) -> None:
    graph: networkx.DiGraph[int] = networkx.DiGraph(edges)
    expected = sorted(sorted(it) for it in networkx.strongly_connected_components(graph) if len(it) > 1)
    assert find_cycles(*sides(edges)) == expected
    longest = networkx.dag_longest_path_length(networkx.condensation(graph)) if edges else 0
    assert measure_graph(*sides(edges)) == GraphMetrics(longest, len(expected))


def test_an_empty_graph_has_zero_metrics() -> None:
    assert find_cycles([], []) == []
    assert measure_graph([], []) == GraphMetrics(0, 0)


def test_a_cycle_counts_as_one_node_on_the_longest_path() -> None:
    edges = [(1, 2), (2, 3), (3, 4), (4, 2), (4, 5), (1, 5), (7, 8), (8, 7)]
    assert find_cycles(*sides(edges)) == [[2, 3, 4], [7, 8]]
    assert measure_graph(*sides(edges)) == GraphMetrics(2, 2)


def test_an_edge_from_a_node_to_itself_is_no_cycle() -> None:
    assert find_cycles([1, 1], [1, 2]) == []
    assert measure_graph([1, 1], [1, 2]) == GraphMetrics(1, 0)


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
    assert measure_graph(*sides(edges)) == expected


def test_the_deadline_raises_a_timeout() -> None:
    for algorithm in (find_cycles, measure_graph):
        with pytest.raises(Timeout):
            algorithm([1, 2], [2, 1], monotonic() - 1)
        assert algorithm([1, 2], [2, 1], monotonic() + 60)

"""What runs in circles and how far chains go, beside networkx and on graphs that would break a recursion."""

from time import monotonic

import networkx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.errors import Timeout
from db.lineage.graph import GraphMetrics, components, graph_metrics

NODES = st.integers(-3, 12)
EDGES = st.lists(st.tuples(NODES, NODES), max_size=40)

Edges = list[tuple[int, int]]


def sides(edges: Edges) -> tuple[list[int], list[int]]:
    return [source for source, _ in edges], [target for _, target in edges]


@given(EDGES)
@settings(max_examples=1_000)
def test_components_and_shape_are_those_of_networkx(edges: Edges) -> None:
    graph: networkx.DiGraph[int] = networkx.DiGraph(edges)
    expected = sorted(sorted(it) for it in networkx.strongly_connected_components(graph) if len(it) > 1)
    assert components(*sides(edges)) == expected
    longest = networkx.dag_longest_path_length(networkx.condensation(graph)) if edges else 0
    assert graph_metrics(*sides(edges)) == GraphMetrics(longest, len(expected))


def test_nothing_has_no_shape() -> None:
    assert components([], []) == []
    assert graph_metrics([], []) == GraphMetrics(0, 0)


def test_a_cycle_counts_as_one_on_the_longest_path() -> None:
    edges = [(1, 2), (2, 3), (3, 4), (4, 2), (4, 5), (1, 5), (7, 8), (8, 7)]
    assert components(*sides(edges)) == [[2, 3, 4], [7, 8]]
    assert graph_metrics(*sides(edges)) == GraphMetrics(2, 2)


def test_what_leads_to_itself_is_no_cycle_of_several() -> None:
    assert components([1, 1], [1, 2]) == []
    assert graph_metrics([1, 1], [1, 2]) == GraphMetrics(1, 0)


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
def test_graphs_that_hurt(edges: Edges, expected: GraphMetrics) -> None:
    assert graph_metrics(*sides(edges)) == expected


def test_past_its_deadline_it_gives_up() -> None:
    for look in (components, graph_metrics):
        with pytest.raises(Timeout):
            look([1, 2], [2, 1], monotonic() - 1)
        assert look([1, 2], [2, 1], monotonic() + 60)

"""Algorithms over graphs given as lists of edges. They are iterative, not recursive, and end with their computation."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from db.computation import STEPS_PER_CHECK, Computation

_Graph = Mapping[int, Sequence[int]]


class GraphMetrics(NamedTuple):
    """Metrics of a graph's condensation, in which each strongly connected component is one node."""

    longest_path: int
    cycles: int


def find_cycles(sources: Sequence[int], targets: Sequence[int], computation: Computation) -> list[list[int]]:
    """Find the strongly connected components of more than one node, each sorted, in order of their first node.

    Edges may repeat.
    """
    components = _strongly_connected_components(_graph(sources, targets, computation), computation)
    return sorted(sorted(component) for component in components if len(component) > 1)


def measure_graph(sources: Sequence[int], targets: Sequence[int], computation: Computation) -> GraphMetrics:
    """Count the edges of the longest path over the condensation, and the components of more than one node."""
    graph = _graph(sources, targets, computation)
    cycles = 0
    # for each node, the edges of the longest path that begins in its component
    longest_from: dict[int, int] = {}
    for component in _strongly_connected_components(graph, computation):
        cycles += len(component) > 1
        longest_onward = -1
        for node in component:
            for target in graph.get(node, ()):
                # components come in reverse topological order: a target that is not known yet is in this very component
                onward = longest_from.get(target, -1)
                if onward > longest_onward:
                    longest_onward = onward
        for node in component:
            longest_from[node] = longest_onward + 1
    return GraphMetrics(max(longest_from.values(), default=0), cycles)


def _graph(sources: Sequence[int], targets: Sequence[int], computation: Computation) -> _Graph:
    graph: dict[int, list[int]] = {}
    for number, (source, target) in enumerate(zip(sources, targets, strict=True)):
        if number % STEPS_PER_CHECK == 0:
            computation.check()
        known = graph.get(source)
        if known is None:
            graph[source] = [target]
        else:
            known.append(target)
    return graph


def _strongly_connected_components(graph: _Graph, computation: Computation) -> Iterator[list[int]]:
    """Yield every strongly connected component after all those that it leads to: Tarjan's algorithm."""
    # The low-link of each visited node: the number of the earliest node that it is known to lead back to. A node of a component
    # that was yielded has a number above all others, so that it lowers no low-link.
    low_links: dict[int, int] = {}
    complete = len(graph) + sum(map(len, graph.values()))
    visited: list[int] = []
    steps = 0
    for root in graph:
        if root in low_links:
            continue
        path = [(root, len(low_links), iter(graph[root]))]
        low_links[root] = len(low_links)
        visited.append(root)
        while path:
            steps += 1
            if steps % STEPS_PER_CHECK == 0:
                computation.check()
            node, number, targets = path[-1]
            low = low_links[node]
            for target in targets:
                target_low = low_links.get(target)
                if target_low is None:
                    low_links[node] = low
                    path.append((target, len(low_links), iter(graph.get(target, ()))))
                    low_links[target] = len(low_links)
                    visited.append(target)
                    break
                if target_low < low:
                    low = target_low
            else:
                path.pop()
                if low < number:
                    low_links[node] = low
                    parent = path[-1][0]
                    low_links[parent] = min(low_links[parent], low)
                    continue
                component = [visited.pop()]
                while component[-1] != node:
                    component.append(visited.pop())
                low_links.update(dict.fromkeys(component, complete))
                yield component

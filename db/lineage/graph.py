"""Graphs as lists of edges: what runs in circles, and how far a chain goes. Pure, not recursive, and mindful of a deadline."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from time import monotonic
from typing import NamedTuple

from db.errors import Timeout

# How many steps are taken between two looks at the clock.
_STRIDE = 1_000

_Graph = Mapping[int, Sequence[int]]


class GraphMetrics(NamedTuple):
    """A graph seen as its condensation, in which each strongly connected component is one node."""

    longest_path: int
    cycles: int


def components(sources: Sequence[int], targets: Sequence[int], deadline: float | None = None) -> list[list[int]]:
    """The strongly connected components of more than one node, each sorted, in order of their first member. Edges may repeat.

    Past the deadline, by the monotonic clock, it gives up with a Timeout.
    """
    found = _components(_graph(sources, targets), deadline)
    return sorted(sorted(component) for component in found if len(component) > 1)


def graph_metrics(sources: Sequence[int], targets: Sequence[int], deadline: float | None = None) -> GraphMetrics:
    """How many edges the longest path over the condensation has, and how many components have more than one node."""
    graph = _graph(sources, targets)
    cycles = 0
    # by node: how many edges the longest path from its component on has
    ahead: dict[int, int] = {}
    for component in _components(graph, deadline):
        cycles += len(component) > 1
        furthest = -1
        for node in component:
            for target in graph.get(node, ()):
                # what the component leads to is known already; what is not is the component itself
                distance = ahead.get(target, -1)
                if distance > furthest:
                    furthest = distance
        for node in component:
            ahead[node] = furthest + 1
    return GraphMetrics(max(ahead.values(), default=0), cycles)


def _graph(sources: Sequence[int], targets: Sequence[int]) -> _Graph:
    graph: dict[int, list[int]] = {}
    for source, target in zip(sources, targets, strict=True):
        known = graph.get(source)
        if known is None:
            graph[source] = [target]
        else:
            known.append(target)
    return graph


def _components(graph: _Graph, deadline: float | None) -> Iterator[list[int]]:
    """Every strongly connected component, each after all those that it leads to: Tarjan's algorithm."""
    # by node, the number of the first visited one it is known to lead back to; beyond all numbers once its component is complete
    lowest: dict[int, int] = {}
    complete = len(graph) + sum(map(len, graph.values()))
    visited: list[int] = []
    steps = count()
    for root in graph:
        if root in lowest:
            continue
        path = [(root, len(lowest), iter(graph[root]))]
        lowest[root] = len(lowest)
        visited.append(root)
        while path:
            if deadline is not None and next(steps) % _STRIDE == 0 and monotonic() > deadline:
                raise Timeout("The graph is too large to be looked through in the time there is.")
            node, number, targets = path[-1]
            low = lowest[node]
            for target in targets:
                seen = lowest.get(target)
                if seen is None:
                    lowest[node] = low
                    path.append((target, len(lowest), iter(graph.get(target, ()))))
                    lowest[target] = len(lowest)
                    visited.append(target)
                    break
                if seen < low:
                    low = seen
            else:
                path.pop()
                if low < number:
                    lowest[node] = low
                    before = path[-1][0]
                    lowest[before] = min(lowest[before], low)
                    continue
                component = [visited.pop()]
                while component[-1] != node:
                    component.append(visited.pop())
                lowest.update(dict.fromkeys(component, complete))
                yield component

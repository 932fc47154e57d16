"""Paths: the ways from one asset to another, and the most trusted path to each asset.

The database finds the links that may matter; the search over them is plain Python.
"""

import heapq
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

from db.computation import STEPS_PER_CHECK, WALK_GRAPHS, Computation
from db.connection import ReadConnection
from db.lineage.subgraph import Subgraph, subgraphs_among
from db.lineage.walk import Direction, WalkQuery, run_walks

# A search expands this many partial paths at most: enough for any drawing, and some tenths of a second.
_MAX_EXPANSIONS = 100_000


class Path(NamedTuple):
    """A path from one asset to another: its visible assets, and the most trusted of the links between each two."""

    assets: tuple[int, ...]
    links: tuple[int, ...]
    confidence: float


class Paths(NamedTuple):
    """Paths, the shortest first. `exhaustive` is false if there may be more."""

    paths: list[Path]
    exhaustive: bool
    # the assets that both walks visited
    visited_count: int = 0


class _TrustedLink(NamedTuple):
    """The most trusted link from one asset to another; of equals, the one with the lowest id."""

    confidence: float
    link_id: int


_Adjacency = Mapping[int, Mapping[int, _TrustedLink]]


async def find_paths(
    connection: ReadConnection,
    source_id: int,
    target_id: int,
    query: WalkQuery,
    as_of: datetime | None,
    *,
    limit: int,
    only_shortest: bool,
) -> Paths:
    """Find up to `limit` paths by which the source feeds the target, none longer than the depth of the query."""
    (downstream,) = await run_walks(connection, [(source_id, as_of)], replace(query, direction=Direction.DOWNSTREAM))
    (upstream,) = await run_walks(connection, [(target_id, as_of)], replace(query, direction=Direction.UPSTREAM))
    from_source, to_target = downstream.depths, upstream.depths
    # a path passes only assets that both walks visit, at depths that together are within the depth of the query
    between = [
        asset_id
        for asset_id, depth in from_source.items()
        if asset_id in to_target and depth + to_target[asset_id] <= query.max_depth
    ]
    complete = downstream.truncation is None and upstream.truncation is None
    visited_count = downstream.visited_count + upstream.visited_count
    if target_id not in between:
        return Paths([], exhaustive=complete, visited_count=visited_count)
    (graph,) = await subgraphs_among(connection, [between], [downstream.instant], query)
    found = await connection.compute(
        WALK_GRAPHS,
        query.bounds.milliseconds / 1_000,
        lambda computation: paths_between(
            source_id, target_id, graph, computation, max_length=query.max_depth, limit=limit, only_shortest=only_shortest
        ),
    )
    visible = {source_id, target_id}.union(*downstream.visible_levels)
    return Paths(
        exhaustive=found.exhaustive and complete,
        visited_count=visited_count,
        paths=[path._replace(assets=tuple(filter(visible.__contains__, path.assets))) for path in found.paths],
    )


def best_confidences(root_id: int, graph: Subgraph, direction: Direction, computation: Computation) -> dict[int, float]:
    """Compute for each asset the greatest product of confidences along a path from the root: Dijkstra's algorithm."""
    neighbours: dict[int, list[tuple[int, float]]] = defaultdict(list)
    near_ends, far_ends = _ends(graph, direction)
    for number, (near, far, confidence) in enumerate(zip(near_ends, far_ends, graph.confidences, strict=True)):
        if number % STEPS_PER_CHECK == 0:
            computation.check()
        neighbours[near].append((far, confidence))
    # the heap gives the smallest first, so all products are negated
    best = {root_id: -1.0}
    queue = [(-1.0, root_id)]
    steps = 0
    # a product of numbers up to 1 never grows, so the greatest in the queue is final
    while queue:
        steps += 1
        if steps % STEPS_PER_CHECK == 0:
            computation.check()
        negated, near = heapq.heappop(queue)
        if negated > best[near]:
            # a better path was found since
            continue
        for far, confidence in neighbours.get(near, ()):
            product = negated * confidence
            known = best.get(far)
            if known is None or product < known:
                best[far] = product
                heapq.heappush(queue, (product, far))
    return {asset_id: -negated for asset_id, negated in best.items()}


def paths_between(
    source_id: int,
    target_id: int,
    graph: Subgraph,
    computation: Computation,
    *,
    max_length: int,
    limit: int,
    only_shortest: bool,
) -> Paths:
    """Find up to `limit` paths that visit no asset twice, the shortest first, then in order of the ids."""
    adjacency = _most_trusted_links(graph, computation)
    distances = _distances_to(target_id, adjacency)
    if source_id not in distances:
        return Paths([], exhaustive=graph.truncation_reason is None)
    if only_shortest:
        max_length = min(max_length, distances[source_id])
    search = _PathSearch(target_id, adjacency, distances, max_length, computation)
    paths: list[Path] = []
    for assets in search.paths_from(source_id):
        if len(paths) == limit:
            return Paths(paths, exhaustive=False)
        paths.append(_path(assets, adjacency))
    return Paths(paths, exhaustive=graph.truncation_reason is None and not search.gave_up)


class _PathSearch:
    """Best-first search: it expands the partial path that can reach the target by the fewest links, so the shortest is first."""

    def __init__(
        self, target_id: int, adjacency: _Adjacency, distances: Mapping[int, int], max_length: int, computation: Computation
    ) -> None:
        self.gave_up = False
        self._target_id = target_id
        self._neighbours = {near: sorted(links) for near, links in adjacency.items()}
        self._distances = distances
        self._max_length = max_length
        self._computation = computation

    def paths_from(self, source_id: int) -> Iterator[tuple[int, ...]]:
        # each partial path beside the least length of a path that begins with it
        queue: list[tuple[int, tuple[int, ...]]] = [(self._distances[source_id], (source_id,))]
        expansions = 0
        while queue:
            _, partial = heapq.heappop(queue)
            near = partial[-1]
            if near == self._target_id:
                yield partial
                continue
            expansions += 1
            if expansions % STEPS_PER_CHECK == 0:
                self._computation.check()
            if expansions > _MAX_EXPANSIONS:
                self.gave_up = True
                return
            for far in self._neighbours.get(near, ()):
                if far in partial or far not in self._distances:
                    continue
                length = len(partial) + self._distances[far]
                if length <= self._max_length:
                    heapq.heappush(queue, (length, (*partial, far)))


def _most_trusted_links(graph: Subgraph, computation: Computation) -> _Adjacency:
    adjacency: dict[int, dict[int, _TrustedLink]] = defaultdict(dict)
    links = zip(graph.sources, graph.targets, graph.confidences, graph.links, strict=True)
    for number, (source, target, confidence, link_id) in enumerate(links):
        if number % STEPS_PER_CHECK == 0:
            computation.check()
        known = adjacency[source].get(target)
        if known is None or (-confidence, link_id) < (-known.confidence, known.link_id):
            adjacency[source][target] = _TrustedLink(confidence, link_id)
    return adjacency


def _distances_to(target_id: int, adjacency: _Adjacency) -> dict[int, int]:
    """Compute the number of links from each asset to the target, for the assets that lead to it."""
    predecessors: dict[int, list[int]] = defaultdict(list)
    for near, links in adjacency.items():
        for far in links:
            predecessors[far].append(near)
    distances = {target_id: 0}
    queue = deque([target_id])
    while queue:
        far = queue.popleft()
        for near in predecessors[far]:
            if near not in distances:
                distances[near] = distances[far] + 1
                queue.append(near)
    return distances


def _path(assets: tuple[int, ...], adjacency: _Adjacency) -> Path:
    confidence, links = 1.0, []
    for near, far in pairwise(assets):
        link = adjacency[near][far]
        confidence *= link.confidence
        links.append(link.link_id)
    return Path(assets, tuple(links), confidence)


def _ends(graph: Subgraph, direction: Direction) -> tuple[Sequence[int], Sequence[int]]:
    """Return the near ends and the far ends of the links, as a walk in this direction sees them."""
    return (graph.targets, graph.sources) if direction is Direction.UPSTREAM else (graph.sources, graph.targets)

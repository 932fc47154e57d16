"""Paths: which ways lead from one asset to another, and which way to an asset is trusted most.

The statements find the links that may matter; the search is plain Python over them.
"""

import asyncio
import heapq
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

from db.connection import ReadConnection
from db.lineage.walk import Direction, Subgraph, WalkQuery, subgraphs_among, walks

# How many beginnings of paths are looked at before a search gives up: enough for any drawing, some tenths of a second at most.
_BEGINNINGS = 100_000


class Path(NamedTuple):
    """A way from one asset to another: the assets that are shown, and for each step the link that is trusted most."""

    assets: tuple[int, ...]
    links: tuple[int, ...]
    confidence: float


class Paths(NamedTuple):
    """Paths, the shortest first; not all there are, where it is not exhaustive."""

    paths: list[Path]
    exhaustive: bool
    # how many assets were visited to find them
    visited: int = 0


async def find_paths(
    connection: ReadConnection,
    origin: int,
    goal: int,
    query: WalkQuery,
    as_of: datetime | None,
    *,
    most: int,
    only_shortest: bool,
) -> Paths:
    """Up to so many ways by which one asset feeds another, none longer than the depth of the query."""
    (ahead,) = await walks(connection, [(origin, as_of)], replace(query, direction=Direction.DOWNSTREAM))
    (behind,) = await walks(connection, [(goal, as_of)], replace(query, direction=Direction.UPSTREAM))
    from_origin, to_goal = ahead.depths, behind.depths
    # a path passes only what is reached from both sides, in as many steps as there are
    between = [it for it, depth in from_origin.items() if it in to_goal and depth + to_goal[it] <= query.max_depth]
    whole = ahead.truncated is None and behind.truncated is None
    visited = ahead.visited + behind.visited
    if goal not in between:
        return Paths([], exhaustive=whole, visited=visited)
    (graph,) = await subgraphs_among(connection, [between], [ahead.instant], query)
    found = await asyncio.to_thread(
        paths_between, origin, goal, graph, longest=query.max_depth, most=most, only_shortest=only_shortest
    )
    shown = {origin, goal}.union(*ahead.shown)
    return Paths(
        exhaustive=found.exhaustive and whole,
        visited=visited,
        paths=[it._replace(assets=tuple(filter(shown.__contains__, it.assets))) for it in found.paths],
    )


def best_confidences(root: int, graph: Subgraph, direction: Direction) -> dict[int, float]:
    """The confidence of each asset's most trusted path from a root: the greatest product of the confidences on it."""
    onward: dict[int, list[tuple[int, float]]] = defaultdict(list)
    near, far = _ends(graph, direction)
    for here, there, confidence in zip(near, far, graph.confidences, strict=True):
        onward[here].append((there, confidence))
    best: dict[int, float] = {}
    waiting = [(-1.0, root)]
    # a product of numbers up to 1 never grows, so the greatest that waits is final
    while waiting:
        negative, here = heapq.heappop(waiting)
        if here in best:
            continue
        best[here] = -negative
        for there, confidence in onward[here]:
            if there not in best:
                heapq.heappush(waiting, (negative * confidence, there))
    return best


def paths_between(origin: int, goal: int, graph: Subgraph, *, longest: int, most: int, only_shortest: bool) -> Paths:
    """Up to so many ways from one asset to another that pass no asset twice, the shortest first, then in order of the ids."""
    onward: dict[int, dict[int, tuple[float, int]]] = defaultdict(dict)
    for source, target, confidence, link in zip(graph.sources, graph.targets, graph.confidences, graph.links, strict=True):
        # of several that say the same, the one that is trusted most; of equals, the first
        known = onward[source].get(target)
        if known is None or (-confidence, link) < (-known[0], known[1]):
            onward[source][target] = (confidence, link)
    remaining = _distances(goal, onward)
    if origin not in remaining:
        return Paths([], exhaustive=graph.cut is None)
    if only_shortest:
        longest = min(longest, remaining[origin])
    search = _Search(goal, {here: sorted(there) for here, there in onward.items()}, remaining, longest)
    found: list[Path] = []
    for assets in search.found_from(origin):
        if len(found) == most:
            return Paths(found, exhaustive=False)
        found.append(_path(assets, onward))
    return Paths(found, exhaustive=graph.cut is None and not search.gave_up)


class _Search:
    """Beginnings of paths, the one with the least still to go first: what is found comes in order of its length."""

    def __init__(self, goal: int, onward: Mapping[int, Sequence[int]], remaining: Mapping[int, int], longest: int) -> None:
        self.gave_up = False
        self._goal = goal
        self._onward = onward
        self._remaining = remaining
        self._longest = longest

    def found_from(self, origin: int) -> Iterator[tuple[int, ...]]:
        waiting: list[tuple[int, tuple[int, ...]]] = [(self._remaining[origin], (origin,))]
        looked_at = 0
        while waiting:
            _, beginning = heapq.heappop(waiting)
            here = beginning[-1]
            if here == self._goal:
                yield beginning
                continue
            looked_at += 1
            if looked_at > _BEGINNINGS:
                self.gave_up = True
                return
            for there in self._onward.get(here, ()):
                if there in beginning or there not in self._remaining:
                    continue
                length = len(beginning) + self._remaining[there]
                if length <= self._longest:
                    heapq.heappush(waiting, (length, (*beginning, there)))


def _distances(goal: int, onward: Mapping[int, Mapping[int, object]]) -> dict[int, int]:
    """How far it is from each asset to the goal."""
    back: dict[int, list[int]] = defaultdict(list)
    for here, there in ((here, there) for here, neighbours in onward.items() for there in neighbours):
        back[there].append(here)
    distances = {goal: 0}
    waiting = deque([goal])
    while waiting:
        there = waiting.popleft()
        for here in back[there]:
            if here not in distances:
                distances[here] = distances[there] + 1
                waiting.append(here)
    return distances


def _path(assets: tuple[int, ...], onward: Mapping[int, Mapping[int, tuple[float, int]]]) -> Path:
    confidence, links = 1.0, []
    for here, there in pairwise(assets):
        trusted, link = onward[here][there]
        confidence *= trusted
        links.append(link)
    return Path(assets, tuple(links), confidence)


def _ends(graph: Subgraph, direction: Direction) -> tuple[Sequence[int], Sequence[int]]:
    return (graph.targets, graph.sources) if direction is Direction.UPSTREAM else (graph.sources, graph.targets)

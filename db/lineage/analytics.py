"""Analytics: assets and links at an instant, counted by domain, and metrics of the whole lineage graph."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from db.computation import STATISTICS
from db.connection import ReadConnection
from db.errors import Timeout
from db.lineage.graph import GraphMetrics, measure_graph
from db.lineage.walk import Direction
from db.sql import Statement, statement

# A graph with more edges takes longer to measure than the time limit allows.
MAX_EDGES = 500_000
TIME_LIMIT_SECONDS = 3.0

_PRODUCTS = statement("lineage/product_statistics")
_CROSSING = statement("lineage/crossing_links")
_LINKS = statement("lineage/link_statistics")
_EDGES = statement("lineage/edges")

_UNLINKED: dict[Direction, Statement] = {}
_MOST_LINKED: dict[Direction, Statement] = {}
for _direction in Direction:
    _near, _far = _direction.ends
    _UNLINKED[_direction] = statement("lineage/count_unlinked", near=_near)
    _MOST_LINKED[_direction] = statement("lineage/most_linked", near=_near, far=_far)


@dataclass(frozen=True, slots=True)
class ProductStatistics:
    """Numbers of products and of their owners in a domain."""

    products: int = 0
    owners: int = 0
    by_status: Mapping[str, int] = field(default_factory=dict)


class Crossing(NamedTuple):
    """Numbers of links that enter and that leave a domain."""

    inbound: int
    outbound: int


@dataclass(frozen=True, slots=True)
class LinkStatistics:
    """Numbers of links, and their average confidence: None without links."""

    links: int
    average_confidence: float | None
    by_type: Mapping[str, int]


class Degree(NamedTuple):
    """Number of distinct neighbours of an asset on one side."""

    asset_id: int
    degree: int


async def product_statistics(connection: ReadConnection, domains: Sequence[str], instant: datetime) -> list[ProductStatistics]:
    """Count the products of each domain."""
    totals: dict[str, tuple[int, int]] = {}
    by_status: dict[str, dict[str, int]] = {}
    for row in await connection.fetch(_PRODUCTS, {"instant": instant}):
        if row.status is None:
            totals[row.domain] = row.products, row.owners
        else:
            by_status.setdefault(row.domain, {})[row.status] = row.products
    return [ProductStatistics(*totals[it], by_status[it]) if it in totals else ProductStatistics() for it in domains]


async def crossing_links(connection: ReadConnection, domains: Sequence[str], instant: datetime) -> list[Crossing]:
    """Count the links that enter and that leave each domain."""
    rows = await connection.fetch(_CROSSING, {"instant": instant})
    crossing = {row.domain: Crossing(row.inbound, row.outbound) for row in rows}
    return [crossing.get(domain, Crossing(0, 0)) for domain in domains]


async def link_statistics(connection: ReadConnection, instants: Sequence[datetime]) -> list[LinkStatistics]:
    """Count the links at each instant."""
    return [await _link_statistics(connection, instant) for instant in instants]


async def count_unlinked(connection: ReadConnection, instants: Sequence[datetime], direction: Direction) -> list[int]:
    """Count the assets without a neighbour in a direction at each instant."""
    rows = [await connection.fetch(_UNLINKED[direction], {"instant": instant}) for instant in instants]
    return [row.assets for (row,) in rows]


async def most_linked(
    connection: ReadConnection, instants: Sequence[datetime], direction: Direction, limit: int
) -> list[list[Degree]]:
    """Find the assets with the most neighbours in a direction, the most first; of equals, the one that was added first."""
    results = [await connection.fetch(_MOST_LINKED[direction], {"instant": instant, "limit": limit}) for instant in instants]
    return [[Degree(row.asset_id, row.degree) for row in rows] for rows in results]


async def graph_metrics(connection: ReadConnection, instants: Sequence[datetime]) -> list[GraphMetrics | None]:
    """Measure the graph of all links at each instant. A graph that is too large for the time limit has None."""
    return [await _graph_metrics(connection, instant) for instant in instants]


async def _link_statistics(connection: ReadConnection, instant: datetime) -> LinkStatistics:
    rows = {row.type: row for row in await connection.fetch(_LINKS, {"instant": instant})}
    total = rows.pop(None)
    return LinkStatistics(total.links, total.confidence, {type_: row.links for type_, row in rows.items()})


async def _graph_metrics(connection: ReadConnection, instant: datetime) -> GraphMetrics | None:
    (edges,) = await connection.fetch(_EDGES, {"instant": instant, "limit": MAX_EDGES + 1})
    if len(edges.sources) > MAX_EDGES:
        return None
    try:
        return await connection.compute(
            STATISTICS, TIME_LIMIT_SECONDS, lambda computation: measure_graph(edges.sources, edges.targets, computation)
        )
    except Timeout:
        return None

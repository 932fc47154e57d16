"""Analytics: what there is at an instant, counted by domain, and what the graph of all lineage looks like."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic
from typing import NamedTuple

from sqlalchemy import TextClause, text

from db.connection import ReadConnection
from db.errors import Timeout
from db.lineage import graph
from db.lineage.graph import GraphMetrics
from db.lineage.walk import Direction
from db.sql import render, statement, tokens_of

# A graph of more edges takes longer to be gone through than there is time.
EDGES = 500_000
SECONDS = 3.0

_PRODUCTS = statement("lineage/product_statistics")
_CROSSING = statement("lineage/crossing_links")
_LINKS = statement("lineage/link_statistics")
_EDGES = statement("lineage/edges")


def _of_side(path: str) -> dict[Direction, TextClause]:
    """A statement about the neighbours of assets, for either side."""
    statements = {}
    for direction in Direction:
        near, far = direction.ends
        statements[direction] = text(render(path, {"near": near, "far": far} if "far" in tokens_of(path) else {"near": near}))
    return statements


_UNLINKED = _of_side("lineage/count_unlinked")
_MOST_LINKED = _of_side("lineage/most_linked")


@dataclass(frozen=True, slots=True)
class ProductStatistics:
    """The products of a domain, and how many owners they have."""

    products: int = 0
    owners: int = 0
    by_status: Mapping[str, int] = field(default_factory=dict)


class Crossing(NamedTuple):
    """How many links lead into a domain from outside of it, and how many lead out."""

    inbound: int
    outbound: int


@dataclass(frozen=True, slots=True)
class LinkStatistics:
    """All links, and how sure they are; None: there are none."""

    links: int
    average_confidence: float | None
    by_type: Mapping[str, int]


class Degree(NamedTuple):
    """How many distinct neighbours an asset has on one side."""

    asset_id: int
    degree: int


async def product_statistics(connection: ReadConnection, domains: Sequence[str], instant: datetime) -> list[ProductStatistics]:
    totals: dict[str, tuple[int, int]] = {}
    by_status: dict[str, dict[str, int]] = {}
    for row in await connection.fetch(_PRODUCTS, {"instant": instant}):
        if row.status is None:
            totals[row.domain] = row.products, row.owners
        else:
            by_status.setdefault(row.domain, {})[row.status] = row.products
    return [ProductStatistics(*totals[it], by_status[it]) if it in totals else ProductStatistics() for it in domains]


async def crossing_links(connection: ReadConnection, domains: Sequence[str], instant: datetime) -> list[Crossing]:
    found = {row.domain: Crossing(row.inbound, row.outbound) for row in await connection.fetch(_CROSSING, {"instant": instant})}
    return [found.get(it, Crossing(0, 0)) for it in domains]


async def link_statistics(connection: ReadConnection, instants: Sequence[datetime]) -> list[LinkStatistics]:
    return [await _link_statistics(connection, it) for it in instants]


async def count_unlinked(connection: ReadConnection, instants: Sequence[datetime], direction: Direction) -> list[int]:
    """How many assets have no neighbour in a direction."""
    rows = [await connection.fetch(_UNLINKED[direction], {"instant": it}) for it in instants]
    return [row.assets for (row,) in rows]


async def most_linked(
    connection: ReadConnection, instants: Sequence[datetime], direction: Direction, limit: int
) -> list[list[Degree]]:
    """The assets with the most neighbours in a direction, the most first; of as many, who was heard of first."""
    rows = [await connection.fetch(_MOST_LINKED[direction], {"instant": it, "limit": limit}) for it in instants]
    return [[Degree(row.asset_id, row.degree) for row in them] for them in rows]


async def graph_metrics(connection: ReadConnection, instants: Sequence[datetime]) -> list[GraphMetrics | None]:
    """How far lineage goes and how often it runs in circles; None where it would take too long to find out."""
    return [await _graph_metrics(connection, it) for it in instants]


async def _link_statistics(connection: ReadConnection, instant: datetime) -> LinkStatistics:
    rows = {row.type: row for row in await connection.fetch(_LINKS, {"instant": instant})}
    total = rows.pop(None)
    return LinkStatistics(total.links, total.confidence, {type_: row.links for type_, row in rows.items()})


async def _graph_metrics(connection: ReadConnection, instant: datetime) -> GraphMetrics | None:
    (edges,) = await connection.fetch(_EDGES, {"instant": instant, "limit": EDGES + 1})
    if len(edges.sources) > EDGES:
        return None
    try:
        # beside the event loop, which serves others meanwhile
        return await asyncio.to_thread(graph.graph_metrics, edges.sources, edges.targets, monotonic() + SECONDS)
    except Timeout:
        return None

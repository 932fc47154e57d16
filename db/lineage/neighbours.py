"""Counts of the neighbours of assets: the assets that feed one directly, or that it feeds."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from db.assets.asset_fields import DOWNSTREAM_COUNT, UPSTREAM_COUNT, neighbour_count
from db.connection import ReadConnection
from db.lineage.walk import Direction
from db.sql import statement

_COUNT = statement(
    "lineage/count_neighbours",
    upstream=neighbour_count(UPSTREAM_COUNT, "wanted", "wanted.instant"),
    downstream=neighbour_count(DOWNSTREAM_COUNT, "wanted", "wanted.instant"),
)
_COLUMNS = {Direction.UPSTREAM: UPSTREAM_COUNT, Direction.DOWNSTREAM: DOWNSTREAM_COUNT}


class Neighbourhood(NamedTuple):
    """The neighbours of an asset in a direction at an instant, by default now."""

    asset_id: int
    as_of: datetime | None
    direction: Direction


class NeighbourCount(NamedTuple):
    """The number of neighbours, and that of the links that were read: if these are more than the bound, there are too many to
    count."""

    assets: int
    links: int


def counts_in(rows: Iterable[Any], direction: Direction) -> list[NeighbourCount | None]:
    """Return the counts of the neighbours of assets, as far as they were read with their rows."""
    column = _COLUMNS[direction]
    return [NeighbourCount(*row[column]) if column in row else None for row in rows]


async def count_neighbours(connection: ReadConnection, neighbourhoods: Sequence[Neighbourhood]) -> list[NeighbourCount]:
    """Count the neighbours of assets with one statement, which reads at most `counted_links` of each and one more."""
    rows = await connection.fetch(
        _COUNT,
        {
            "assets": [it.asset_id for it in neighbourhoods],
            "instants": [it.as_of or connection.now_if_read for it in neighbourhoods],
            "are_upstream": [it.direction is Direction.UPSTREAM for it in neighbourhoods],
        },
    )
    counts = {row.ordinal: NeighbourCount(*row.count) for row in rows}
    return [counts[ordinal] for ordinal in range(1, len(neighbourhoods) + 1)]

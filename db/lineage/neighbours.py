"""Counts of the neighbours of assets: the assets that feed one directly, or that it feeds."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from db.connection import ReadConnection
from db.lineage.walk import Direction
from db.sql import statement

_COUNT = statement("lineage/count_neighbours")


class Neighbourhood(NamedTuple):
    """The neighbours of an asset in a direction at an instant, by default now."""

    asset_id: int
    as_of: datetime | None
    direction: Direction


class NeighbourCount(NamedTuple):
    """The number of neighbours, None if there are too many links to count them, and the number of links that were read."""

    assets: int | None
    links: int


async def count_neighbours(
    connection: ReadConnection, neighbourhoods: Sequence[Neighbourhood], most_links: int
) -> list[NeighbourCount]:
    """Count the neighbours of assets with one statement, which reads at most so many links of each and one more."""
    rows = await connection.fetch(
        _COUNT,
        {
            "assets": [it.asset_id for it in neighbourhoods],
            "instants": [it.as_of or connection.now_if_read for it in neighbourhoods],
            "are_upstream": [it.direction is Direction.UPSTREAM for it in neighbourhoods],
            "links": most_links,
        },
    )
    counts = {row.ordinal: NeighbourCount(row.assets if row.links <= most_links else None, row.links) for row in rows}
    return [counts[ordinal] for ordinal in range(1, len(neighbourhoods) + 1)]

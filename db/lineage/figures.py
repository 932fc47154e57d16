"""Figures of a tenant: how much it has of what operations read, and how far a walk spreads. Estimates of costs use them."""

import math
from typing import NamedTuple

from db.connection import ReadConnection
from db.lineage.walk import Direction
from db.sql import statement

# Links from which the degrees are estimated.
SAMPLE = 200
# The highest degree, and the most domains, that are counted.
MOST_COUNTED = 1_000
# Stretches of the change log from which its length is estimated, and entries that are counted of each.
STRETCHES = 40
ENTRIES = 10

_READ = statement("lineage/figures")
_PARAMETERS = {"sample": SAMPLE, "most": MOST_COUNTED, "stretches": STRETCHES, "entries": ENTRIES}


class Spread(NamedTuple):
    """Mean number of links that a walk finds at an asset: at its root, and at each asset that it reaches through a link.

    A root is taken as an asset that has such links, the more likely the more it has.
    """

    at_root: float
    onward: float


class Figures(NamedTuple):
    """Figures of a tenant, rounded up, so that those of an hour later are often the same."""

    products: int
    entities: int
    links: int
    # entries of the change log, and domains that products or entity types have had
    changes: int
    domains: int
    upstream: Spread
    downstream: Spread

    @property
    def assets(self) -> int:
        return self.products + self.entities

    @property
    def products_of_domain(self) -> int:
        """Mean number of products of a domain."""
        return math.ceil(self.products / max(1, self.domains))

    def spread(self, direction: Direction) -> Spread:
        """Return the spread of walks in a direction."""
        return self.upstream if direction is Direction.UPSTREAM else self.downstream


async def read_figures(connection: ReadConnection) -> Figures:
    """Read the figures of the tenant with one statement."""
    (row,) = await connection.fetch(_READ, _PARAMETERS)
    return Figures(
        _rounded(row.products),
        _rounded(row.entities),
        _rounded(row.links),
        _rounded(row.changes),
        _rounded(row.domains),
        Spread(_tenths(row.target_upstream), _tenths(row.source_upstream)),
        Spread(_tenths(row.source_downstream), _tenths(row.target_downstream)),
    )


def _rounded(number: int) -> int:
    """Round up to two digits."""
    unit: int = 10 ** max(0, len(str(int(number))) - 2)
    return math.ceil(int(number) / unit) * unit


def _tenths(mean: float | None) -> float:
    """Round up to tenths. Without links there is no mean."""
    return 0.0 if mean is None else math.ceil(float(mean) * 10) / 10

"""Extents of walks: the assets that one visits and the links that it examines, and their estimate by figures of the tenant."""

import math
from collections.abc import Collection
from functools import lru_cache
from typing import NamedTuple

from db.lineage.figures import Figures
from db.lineage.walk import Bounds, Direction, Walk
from schema.language.cost import COUNTED_PER_OBJECT, LINKS_PER_OBJECT


class WalkExtent(NamedTuple):
    """Assets that a walk visits, and links that it examines, each once."""

    assets: int
    links: int

    @classmethod
    def of(cls, walk: Walk) -> "WalkExtent":
        """Return what a walk has visited and examined."""
        return cls(walk.visited_count, walk.examined_count)

    def cost(self, bounds: Bounds) -> int:
        """Return the cost of the walk: its assets, or its links if these are many, and at most the bound of assets."""
        return min(bounds.assets, max(self.assets, self.link_cost))

    @property
    def count_cost(self) -> int:
        """Cost of counting the links."""
        return self.links // COUNTED_PER_OBJECT

    @property
    def link_cost(self) -> int:
        """Cost of reading the links."""
        return self.links // LINKS_PER_OBJECT


@lru_cache(1_000)
def estimate_walk(bounds: Bounds, figures: Figures | None, directions: Collection[Direction], depth: int) -> WalkExtent:
    """Estimate a walk to a depth by the mean spread of the tenant, in that of some directions in which it costs most. Without
    figures it meets its bounds."""
    if figures is None:
        return WalkExtent(bounds.assets, bounds.links)
    most_assets, most_links = min(bounds.assets, figures.assets), min(bounds.links, figures.links)
    most = WalkExtent(0, 0)
    for direction in directions:
        spread = figures.spread(direction)
        level, reached = spread.at_root, 0.0
        for _ in range(depth):
            # what it reaches twice is expanded once, so that no level is larger than the tenant
            level = min(level, most_links)
            reached += level
            # less than a hundredth of a link: deeper levels add nothing
            if reached >= most_links or level < 0.01:
                break
            level *= spread.onward
        found = math.ceil(reached)
        most = WalkExtent(max(most.assets, min(found, most_assets)), max(most.links, min(found, most_links)))
    return most

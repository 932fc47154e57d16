"""Cost meters: the actual cost of an operation, counted while it runs."""

from dataclasses import dataclass, field

from db.errors import LimitExceeded
from db.lineage.walk import Walk


@dataclass(slots=True)
class CostMeter:
    """Actual cost of one attempt at an operation."""

    objects: int = 0
    walks: set[Walk] = field(default_factory=set)
    # assets visited outside walks: by the search for paths, and by statistics of the whole graph
    visited: int = 0
    # assets that the walks begun so far may visit
    reserved: int = 0

    def reserve(self, assets: int, limit: int) -> None:
        """Reserve the assets that a walk may visit. Raise LimitExceeded if a list above the walks is longer than assumed."""
        self.reserved += assets
        if self.reserved > limit:
            raise LimitExceeded(
                f"The walks of the operation cost more than {limit}, because a list above them is longer than estimated."
                " Start from fewer assets at once."
            )

    @property
    def total(self) -> int:
        return self.objects + self.visited + sum(walk.visited_count for walk in self.walks)


@dataclass(slots=True)
class OperationCost:
    """Cost of an operation: estimated, actual and the limit."""

    requested: int
    actual: int
    limit: int

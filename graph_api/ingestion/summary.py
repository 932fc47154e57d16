"""Counts of what a load did with its rows."""

from dataclasses import dataclass

from db.registries.registry import PutOutcome
from db.temporal.change_log import Outcome


@dataclass(slots=True)
class Summary:
    """Numbers of rows by their outcome."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0

    def __str__(self) -> str:
        return f"created {self.created}, updated {self.updated}, unchanged {self.unchanged}, rejected {self.rejected}"

    @property
    def rows(self) -> int:
        return self.created + self.updated + self.unchanged + self.rejected

    def count(self, outcome: Outcome | PutOutcome) -> None:
        if not outcome.changed or (isinstance(outcome, Outcome) and outcome.replayed):
            self.unchanged += 1
        elif outcome.created:
            self.created += 1
        else:
            self.updated += 1

"""Statistics of the statements that a connection ran."""

from dataclasses import dataclass


@dataclass(slots=True)
class QueryStats:
    """Number of statements, rows returned or changed, and seconds spent waiting for the database."""

    statements: int = 0
    rows: int = 0
    seconds: float = 0.0

    def add(self, other: "QueryStats") -> None:
        self.statements += other.statements
        self.rows += other.rows
        self.seconds += other.seconds

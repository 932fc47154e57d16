"""What is loaded. A row of the table is an entry of `LOADS`, and nothing else has to know of it."""

import csv
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from graph_api.ingestion.csv import COLUMNS
from tests.bench.entities import entity_uid, surname
from tests.bench.versions import since


@dataclass(frozen=True, slots=True)
class Load:
    """A file of states, whole, that hold from an instant on. It is loaded `after` another one; without one, into nothing.

    All its rows are alike: `found` is what the command has to call each. The aim is how many times as long as COPY it may take.
    """

    name: str
    found: str
    aim: float
    at: datetime
    # which of their names people have, and where their mail goes
    names: int = 0
    mail: str = "shop.example"
    after: "Load | None" = None

    def write(self, path: Path, rows: int) -> None:
        """The file, with so many rows."""
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(self._row(number) for number in range(rows))

    def _row(self, number: int) -> tuple[object, ...]:
        name = f"Person {number:06} {surname(number + self.names, 0)}"
        details = [
            {"detail_type": "email", "detail_value": f"person_{number}@{self.mail}"},
            {"detail_type": "team", "detail_value": f"team {number % 500}"},
        ]
        return entity_uid(number), name, "PERSON", json.dumps(details), self.at.isoformat()


_NEW = Load("load of new rows", "created", 30, since(0))
_RENAMED = Load("load of other names", "updated", 45, since(2), names=1, after=_NEW)

LOADS = (
    _NEW,
    Load("load of the same file again", "unchanged", 9, since(0), after=_NEW),
    Load("load of the same, said later", "unchanged", 9, since(2), after=_NEW),
    _RENAMED,
    Load("load of rows that come late", "updated", 45, since(1), names=2, mail="other.example", after=_RENAMED),
)


def chosen(fragments: list[str]) -> list[Load]:
    """The loads whose names contain one of these texts; all of them when there is none."""
    return [load for load in LOADS if not fragments or any(fragment.lower() in load.name for fragment in fragments)]

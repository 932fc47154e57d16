"""Loads that are measured. To add one, add it to `LOADS`."""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tests.bench.loads import graph
from tests.bench.loads.entities import entity_uid, surname
from tests.bench.versions import since

# Columns of the files of entities.
COLUMNS = ("entity_uid", "display_name", "entity_type", "details", "change_ts")


@dataclass(frozen=True, slots=True)
class Size:
    """Amounts of data: the rows of each file of entities, the graph, and how often a load without rows is measured."""

    rows: int
    starts: int
    graph: graph.Scale


WHOLE = Size(rows=100_000, starts=3, graph=graph.WHOLE)
LARGE = Size(rows=100_000, starts=3, graph=graph.LARGE)
QUICK = Size(rows=50, starts=1, graph=graph.QUICK)


@dataclass(frozen=True, slots=True)
class Load:
    """A file for `headwater ingest` in one of its formats. It is loaded after another one, or into an empty database.

    `write` returns the number of rows. `outcomes` are the words with which the command may count a row. `aim` is how many times
    as long as COPY the load may take. `tables` are those that it writes versions to.
    """

    name: str
    format: str
    write: Callable[[Path, Size], int]
    outcomes: tuple[str, ...]
    tables: tuple[str, ...]
    aim: float | None = None
    after: "Load | None" = None


def _people(
    name: str, outcome: str, aim: float, at: datetime, *, names: int = 0, mail: str = "shop.example", after: Load | None = None
) -> Load:
    """Return a load of whole entities that are valid from an instant on. `names` selects their names."""

    def row(number: int) -> tuple[object, ...]:
        name = f"Person {number:06} {surname(number + names, 0)}"
        details = [
            {"detail_type": "email", "detail_value": f"person_{number}@{mail}"},
            {"detail_type": "team", "detail_value": f"team {number % 500}"},
        ]
        return entity_uid(number), name, "PERSON", json.dumps(details), at.isoformat()

    def write(path: Path, size: Size) -> int:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(row(number) for number in range(size.rows))
        return size.rows

    return Load(name, "csv", write, (outcome,), ("entity_version", "entity_detail"), aim, after)


_NEW = _people("load of new rows", "created", 30, since(0))
_RENAMED = _people("load of other names", "updated", 45, since(2), names=1, after=_NEW)
_ASSETS = Load(
    "load of a graph's assets",
    "jsonl",
    lambda path, size: graph.write_assets(path, size.graph),
    ("created",),
    ("product_version", "entity_version"),
)
_LINKS = Load(
    "load of a graph's links",
    "jsonl",
    lambda path, size: graph.write_links(path, size.graph),
    ("created", "updated"),
    ("lineage_link_version",),
    after=_ASSETS,
)
# The loads that can be made ten times as large.
GRAPH = (_ASSETS, _LINKS)

LOADS = (
    _NEW,
    _people("load of the same file again", "unchanged", 9, since(0), after=_NEW),
    _people("load of the same states at a later instant", "unchanged", 9, since(2), after=_NEW),
    _RENAMED,
    _people("load of rows that arrive late", "updated", 45, since(1), names=2, mail="other.example", after=_RENAMED),
    *GRAPH,
)

"""How many rows the walks of an operation visit, beside how many there are to be seen, whatever the time they take."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import asyncpg
import orjson

from tests.bench.data import plain_address
from tests.bench.recording import Recording
from tests.bench.replay import read_script
from tests.bench.rows import Row

_WALK = "WITH RECURSIVE root "
_EXPLAIN = "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) "


@dataclass(slots=True)
class Visits:
    """What was counted of one operation: its walks, what they reach and see, and the rows that PostgreSQL went through."""

    row: Row
    walks: int = 0
    assets: int = 0
    links: int = 0
    # of each walk one a level, and one before the first
    pages: int = 0
    visited: int = 0

    @property
    def ratio(self) -> float:
        return self.visited / (self.assets + self.links + self.pages)


async def count_visits(address: str, recording: Recording, rows: list[Row]) -> list[Visits]:
    """Explain the walks of the first sample of each row. Those without any are left out."""
    connection = await asyncpg.connect(plain_address(address), server_settings=recording.server_settings)
    try:
        counted = [await _count(connection, row, recording) for row in rows]
    finally:
        await connection.close()
    return [it for it in counted if it.walks]


async def _count(connection: "asyncpg.Connection[asyncpg.Record]", row: Row, recording: Recording) -> Visits:
    visits = Visits(row)
    for statement in read_script(recording.rows[row.name][0].statements):
        found = await statement.run(connection, "")
        if _WALK not in statement.sql:
            continue
        for _, pages in groupby(found, key=lambda page: page["ordinal"]):
            *others, last = pages
            visits.walks += 1
            visits.assets += last["visited"] + 1
            visits.links += last["examined"]
            visits.pages += len(others) + 2
        ((plan,),) = await replace(statement, sql=_EXPLAIN + statement.sql).run(connection, "")
        visits.visited += _visited(orjson.loads(plan)[0]["Plan"])
    return visits


def _visited(plan: dict[str, Any]) -> int:
    """The rows of links that were read, also if they were thrown away at once, and those that the recursion gave."""
    rows = 0.0
    for node in _nodes(plan):
        if node.get("Relation Name") == "lineage_link_effective":
            rows += (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        elif node["Node Type"] == "Recursive Union":
            rows += node["Actual Rows"]
    return round(rows)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)

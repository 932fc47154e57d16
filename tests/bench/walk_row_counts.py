"""Rows that PostgreSQL reads for the walks of an operation, beside the rows that their results need."""

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
class WalkRowCounts:
    """Counts of one operation: its walks, the assets they visit, the links they examine, and the rows that PostgreSQL reads."""

    row: Row
    walks: int = 0
    assets: int = 0
    links: int = 0
    # of each walk one a level, and one before the first
    levels: int = 0
    read: int = 0

    @property
    def ratio(self) -> float:
        return self.read / (self.assets + self.links + self.levels)


async def count_walk_rows(address: str, recording: Recording, rows: list[Row]) -> list[WalkRowCounts]:
    """Explain the walks of the first sample of each row. Leave out rows without walks."""
    connection = await asyncpg.connect(plain_address(address), server_settings=recording.server_settings)
    try:
        counts = [await _count(connection, row, recording) for row in rows]
    finally:
        await connection.close()
    return [it for it in counts if it.walks]


async def _count(connection: "asyncpg.Connection[asyncpg.Record]", row: Row, recording: Recording) -> WalkRowCounts:
    counts = WalkRowCounts(row)
    for statement in read_script(recording.rows[row.name][0].statements):
        result = await statement.run(connection, "")
        if _WALK not in statement.sql:
            continue
        for _, levels in groupby(result, key=lambda level: level["ordinal"]):
            *others, last = levels
            counts.walks += 1
            counts.assets += last["visited"] + 1
            counts.links += last["examined"]
            counts.levels += len(others) + 2
        ((plan,),) = await replace(statement, sql=_EXPLAIN + statement.sql).run(connection, "")
        counts.read += _rows_read(orjson.loads(plan)[0]["Plan"])
    return counts


def _rows_read(plan: dict[str, Any]) -> int:
    """Return the number of rows of links that were read, filtered ones included, and of rows of the recursion."""
    rows = 0.0
    for node in _nodes(plan):
        if node.get("Relation Name") == "lineage_link_effective":
            rows += (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        elif node["Node Type"] == "Recursive Union":
            rows += node["Actual Rows"]
    return round(rows)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)

"""The table, and what has to be known to read it."""

import os

import asyncpg
from rich.table import Table
from rich.text import Text

from tests.bench.data import VERSIONS, plain_address
from tests.bench.harness import CONNECTIONS, Result


async def conditions(address: str, products: int, load: float) -> str:
    """What the figures hold for. The load is that before measuring began: on a busy machine they say little."""
    connection = await asyncpg.connect(plain_address(address))
    try:
        version, fsync = await connection.fetchrow("SELECT current_setting('server_version'), current_setting('fsync')") or (
            "",
            "",
        )
    finally:
        await connection.close()
    return (
        f"PostgreSQL {version}, fsync {fsync}, {products} products with {VERSIONS} versions each, {os.cpu_count()} processors, "
        f"load {load:.1f} beforehand"
    )


def table(results: list[Result], conditions: str, rounds: int) -> Table:
    drawn = Table(
        title="The service beside its floor",
        caption=Text(
            f"{conditions}. Times in milliseconds over one kept-alive connection: medians of {rounds} rounds in which floor "
            "and service take turns, beside the ratio the least and the greatest of a round. Requests a second over "
            f"{CONNECTIONS} connections. Service: `headwater serve`, whole, with one worker. Floor: a bare ASGI app, also in "
            "uvicorn with uvloop, httptools and one worker, which issues the statements that the service was heard to issue "
            "(with those that open and end a transaction) through a pool of asyncpg, leaves the rows as they come, and encodes "
            "the recorded answer with orjson. SQL alone: those statements on one held asyncpg connection. Checked: the answers "
            "of both are equal byte for byte but for requestId, and in both every request of a write changed something."
        ),
        caption_justify="left",
    )
    drawn.add_column("", no_wrap=True)
    for heading in (
        *(
            "floor\nmedian",
            "service\nmedian",
            "ratio",
            "ratios of\nthe rounds",
            "SQL alone\nmedian",
            "floor\np95",
            "service\np95",
        ),
        *("floor\nreq/s", "service\nreq/s", "ratio"),
    ):
        drawn.add_column(heading, justify="right", no_wrap=True)
    for it in results:
        least, greatest = it.ratio_range
        drawn.add_row(
            it.row.name,
            _milliseconds(it.floor.median),
            _milliseconds(it.service.median),
            f"{it.ratio:.2f}×",
            f"{least:.2f}–{greatest:.2f}",
            _milliseconds(it.sql.median),
            _milliseconds(it.floor.p95),
            _milliseconds(it.service.p95),
            f"{it.floor.rate:,.0f}",
            f"{it.service.rate:,.0f}",
            f"{it.rate_ratio:.2f}×",
        )
    return drawn


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.2f}"

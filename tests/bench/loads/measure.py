"""Measure loads: the command `headwater ingest`, in turn with COPY of the same file into a table without constraints.

Each load runs on its own database, which is a copy of the one that the load before it left, after a vacuum. The first runs
on tables without statistics. So no figure depends on which loads are chosen. All databases are dropped at the end.
"""

import asyncio
import re
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg

from db import migrations
from tests.bench.databases import in_database, plain_address, verify
from tests.bench.loads import entities
from tests.bench.loads.rows import COLUMNS, Load, Size
from tests.bench.processes import running

# Copies of a file before its load, and as many after it.
_COPIES = 3
# Most seconds until the connections of a command that has ended are gone.
_DISCONNECT_TIMEOUT = 10.0

# For each format a table that takes the rows, and the options of COPY. No line of JSON contains these delimiters and quotes.
_COPY_TARGETS: dict[str, tuple[str, dict[str, Any]]] = {
    "csv": (
        "CREATE TABLE copied (entity_uid uuid, display_name text, entity_type text, details jsonb, change_ts timestamptz)",
        {"header": True},
    ),
    "jsonl": ("CREATE TABLE copied (line jsonb)", {"delimiter": "\x01", "quote": "\x02"}),
}
_WRITTEN = """
SELECT CAST(sum(n_tup_ins + n_tup_upd + n_tup_del) AS bigint)
FROM pg_stat_user_tables
WHERE relname = ANY ($1)
"""
_ACTIVITY = """
SELECT application_name, coalesce(state, 'starting') AS state, count(*)
FROM pg_stat_activity
WHERE datname = $1 AND backend_type = 'client backend'
GROUP BY application_name, state
ORDER BY application_name, state
"""


class LoadFailed(Exception):
    """A load did not do what it should. The message holds the end of its output."""


@dataclass(slots=True)
class LoadFigures:
    """Measurements of one load.

    `total` is the duration of the command in seconds, `start` its duration for a file without rows, `copies` those of COPY, and
    `written` the number of rows of versions and details that it wrote.
    """

    load: Load
    database: str
    rows: int
    start: float
    total: float = 0.0
    written: int = 0
    copies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return self.rows / self.loading

    @property
    def written_rate(self) -> float:
        return self.written / self.loading

    @property
    def copy_rate(self) -> float:
        return self.rows / statistics.median(self.copies)

    @property
    def ratio(self) -> float:
        return self.loading / statistics.median(self.copies)

    @property
    def ratio_range(self) -> tuple[float, float]:
        """The ratios to the slowest COPY and to the fastest, which show how exact the median is."""
        return self.loading / max(self.copies), self.loading / min(self.copies)

    @property
    def loading(self) -> float:
        return self.total - self.start


async def measure_loads(databases: "Databases", loads: Sequence[Load], directory: Path, size: Size) -> list[LoadFigures]:
    """Measure loads, and verify the database that each of them leaves."""
    measurement = _Measurement(databases, directory, size)
    await measurement.prepare()
    return [await measurement.figures_of(load) for load in loads]


class Databases:
    """Databases of the benchmark on a server."""

    def __init__(self, address: str, server: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._address = address
        self._server = server
        self._names: list[str] = []

    def address(self, name: str) -> str:
        return in_database(self._address, name)

    async def create(self, template: str) -> str:
        """Create a copy of a database. Return its name."""
        name = f"headwater_bench_{uuid4().hex}"
        try:
            await self._server.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        except asyncpg.PostgresError as error:
            raise LoadFailed(f"A database to load into could not be created: {error}") from error
        self._names.append(name)
        return name

    async def drop_all(self) -> None:
        while self._names:
            await self._server.execute(f"DROP DATABASE {self._names.pop()} WITH (FORCE)")

    async def connections(self, name: str) -> dict[tuple[str, str], int]:
        """Count the connections to a database by application and state."""
        rows = await self._server.fetch(_ACTIVITY, name)
        return {(it["application_name"], it["state"]): it["count"] for it in rows}

    async def wait_for_disconnect(self, name: str) -> None:
        """Wait until a database has no connections. Only then its statistics are complete."""
        deadline = time.monotonic() + _DISCONNECT_TIMEOUT
        while time.monotonic() < deadline:
            if not await self._server.fetchval("SELECT count(*) FROM pg_stat_activity WHERE datname = $1", name):
                return
            await asyncio.sleep(0.01)
        raise LoadFailed("The command has ended, but not its connection to the database.")


@asynccontextmanager
async def databases_beside(address: str) -> AsyncIterator[Databases]:
    """Yield databases on the same server, and drop them afterwards."""
    server = await asyncpg.connect(plain_address(address))
    databases = Databases(address, server)
    try:
        yield databases
    finally:
        await databases.drop_all()
        await server.close()


@asynccontextmanager
async def _connected(address: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    connection = await asyncpg.connect(plain_address(address))
    try:
        yield connection
    finally:
        await connection.close()


class _Measurement:
    """The measurement of all loads. Each is measured once, even if several others come after it."""

    def __init__(self, databases: Databases, directory: Path, size: Size) -> None:
        self._databases = databases
        self._directory = directory
        self._size = size
        self._empty = ""
        self._copies = ""
        self._start = 0.0
        self._figures: dict[str, LoadFigures] = {}

    async def prepare(self) -> None:
        """Create a migrated database with types and one for COPY, and measure the command with a file without rows."""
        self._copies = await self._databases.create("template0")
        self._empty = await self._databases.create("template0")
        await migrations.upgrade(self._databases.address(self._empty))
        async with _connected(self._databases.address(self._empty)) as owner:
            await entities.add_types(owner)
        file = self._directory / "no_rows.csv"
        file.write_text(",".join(COLUMNS) + "\n")
        durations = [(await self._run("csv", file, self._empty))[0] for _ in range(self._size.starts)]
        self._start = statistics.median(durations)

    async def figures_of(self, load: Load) -> LoadFigures:
        """Measure a load, and before that the load that it comes after, unless they have been measured."""
        if load.name not in self._figures:
            template = self._empty if load.after is None else (await self.figures_of(load.after)).database
            self._figures[load.name] = await self._measure(load, template)
        return self._figures[load.name]

    async def _measure(self, load: Load, template: str) -> LoadFigures:
        file = self._directory / f"load.{load.format}"
        figures = LoadFigures(load, await self._databases.create(template), load.write(file, self._size), self._start)
        figures.copies += await self._copy(load.format, file)
        figures.total, output = await self._run(load.format, file, figures.database)
        figures.copies += await self._copy(load.format, file)
        counts = {word: int(rows) for word, rows in re.findall(r"(\w+) (\d+)(?=[,\n])", output)}
        if sum(counts.get(it, 0) for it in load.outcomes) != figures.rows:
            raise LoadFailed(f"{load.name}: not every row was {' or '.join(load.outcomes)}.\n{output[-2000:]}")
        await self._databases.wait_for_disconnect(figures.database)
        async with _connected(self._databases.address(figures.database)) as owner:
            figures.written = await owner.fetchval(_WRITTEN, load.tables)
            await owner.execute("VACUUM ANALYZE")
        await verify(self._databases.address(figures.database))
        return figures

    async def _copy(self, format_: str, file: Path) -> list[float]:
        """Return how long it takes to copy a file into a new table, several times."""
        durations: list[float] = []
        table, options = _COPY_TARGETS[format_]
        async with _connected(self._databases.address(self._copies)) as owner:
            for _ in range(_COPIES):
                await owner.execute(table)
                began = time.perf_counter()
                await owner.copy_to_table("copied", source=file, format="csv", **options)
                durations.append(time.perf_counter() - began)
                await owner.execute("DROP TABLE copied")
        return durations

    async def _run(self, format_: str, file: Path, database: str) -> tuple[float, str]:
        """Run the command. Return its duration and its output."""
        environment = {"HEADWATER_DATABASE_URL": self._databases.address(database)}
        began = time.perf_counter()
        with running(self._directory / "load.log", environment, "load", "ingest", format_, str(file)) as process:
            status = await process.wait()
            duration = time.perf_counter() - began
            if status:
                raise LoadFailed(process.output()[-2000:])
            return duration, process.output()

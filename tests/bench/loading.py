"""Measures loads: `headwater ingest` as it is run, in turn with COPY of the same file into a table that is only a table.

Each load meets a database of its own, on one server: that which the load before it has left, as autovacuum would have left it
by then. The first meets tables that nobody has ever analysed. So no figure depends on which loads are chosen. The databases stay
for whoever asks something of them, and go at the end.
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
from graph_api.ingestion.entity_csv import COLUMNS
from tests.bench import entities
from tests.bench.data import Size, in_database, plain_address, verify
from tests.bench.loads import Load
from tests.bench.servers import running

# How often a file is copied on either side of its load.
_COPIES = 3
_STARTS = 3
_PATIENCE = 10.0

# For each form a table that takes its rows, and how COPY reads them. No line of JSON has such delimiters and quotes in it.
_BARE: dict[str, tuple[str, dict[str, Any]]] = {
    "csv": (
        "CREATE TABLE bare (entity_uid uuid, display_name text, entity_type text, details jsonb, change_ts timestamptz)",
        {"header": True},
    ),
    "jsonl": ("CREATE TABLE bare (line jsonb)", {"delimiter": "\x01", "quote": "\x02"}),
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
    """A load did not do what it is there for; the message holds what it said last."""


@dataclass(slots=True)
class Figures:
    """What was measured of one load: how long the whole command took, how long it takes when there is nothing to load, and how
    long COPY took each time, in seconds; and how many rows of versions and details it wrote."""

    load: Load
    database: str
    rows: int
    start: float
    whole: float = 0.0
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
        """The ratio by the slowest COPY and by the fastest: how far to trust the median."""
        return self.loading / max(self.copies), self.loading / min(self.copies)

    @property
    def loading(self) -> float:
        return self.whole - self.start


async def measure_loads(databases: "Databases", loads: Sequence[Load], directory: Path, size: Size) -> list[Figures]:
    """Measure loads, and verify what each has left."""
    course = _Course(databases, directory, size)
    await course.begin()
    return [await course.measured(load) for load in loads]


class Databases:
    """Databases of our own on a server."""

    def __init__(self, address: str, server: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._address = address
        self._server = server
        self._names: list[str] = []

    def address(self, name: str) -> str:
        return in_database(self._address, name)

    async def create(self, template: str) -> str:
        """One like another one; gives its name."""
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
        """How many there are to it, by application and state."""
        found = await self._server.fetch(_ACTIVITY, name)
        return {(it["application_name"], it["state"]): it["count"] for it in found}

    async def left_alone(self, name: str) -> None:
        """Wait until nobody is connected to it: only then it is known what was counted there."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            if not await self._server.fetchval("SELECT count(*) FROM pg_stat_activity WHERE datname = $1", name):
                return
            await asyncio.sleep(0.01)
        raise LoadFailed("The command has ended, but not its connection to the database.")


@asynccontextmanager
async def databases_beside(address: str) -> AsyncIterator[Databases]:
    """Databases on the server of this one."""
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


class _Course:
    """The measuring of loads, each once, even if several come after it."""

    def __init__(self, databases: Databases, directory: Path, size: Size) -> None:
        self._databases = databases
        self._directory = directory
        self._size = size
        self._empty = ""
        self._bare = ""
        self._start = 0.0
        self._done: dict[str, Figures] = {}

    async def begin(self) -> None:
        """Make a migrated database with types in it and one for COPY, and measure what the command takes by itself."""
        self._bare = await self._databases.create("template0")
        self._empty = await self._databases.create("template0")
        await migrations.upgrade(self._databases.address(self._empty))
        async with _connected(self._databases.address(self._empty)) as owner:
            await entities.add_types(owner)
        nothing = self._directory / "nothing.csv"
        nothing.write_text(",".join(COLUMNS) + "\n")
        self._start = statistics.median([(await self._run("csv", nothing, self._empty))[0] for _ in range(_STARTS)])

    async def measured(self, load: Load) -> Figures:
        """The figures of a load, and before them, if need be, the load that it comes after."""
        if load.name not in self._done:
            before = self._empty if load.after is None else (await self.measured(load.after)).database
            self._done[load.name] = await self._measure(load, before)
        return self._done[load.name]

    async def _measure(self, load: Load, before: str) -> Figures:
        file = self._directory / f"load.{load.form}"
        figures = Figures(load, await self._databases.create(before), load.write(file, self._size), self._start)
        figures.copies += await self._copy(load.form, file)
        figures.whole, said = await self._run(load.form, file, figures.database)
        figures.copies += await self._copy(load.form, file)
        found = {word: int(rows) for word, rows in re.findall(r"(\w+) (\d+)(?=[,\n])", said)}
        if sum(found.get(it, 0) for it in load.found) != figures.rows:
            raise LoadFailed(f"{load.name}: not every row was found to be {' or '.join(load.found)}.\n{said[-2000:]}")
        await self._databases.left_alone(figures.database)
        async with _connected(self._databases.address(figures.database)) as owner:
            figures.written = await owner.fetchval(_WRITTEN, load.tables)
            await owner.execute("VACUUM ANALYZE")
        await verify(self._databases.address(figures.database))
        return figures

    async def _copy(self, form: str, file: Path) -> list[float]:
        """How long it takes to copy a file, each time into a new table."""
        taken: list[float] = []
        table, options = _BARE[form]
        async with _connected(self._databases.address(self._bare)) as owner:
            for _ in range(_COPIES):
                await owner.execute(table)
                began = time.perf_counter()
                await owner.copy_to_table("bare", source=file, format="csv", **options)
                taken.append(time.perf_counter() - began)
                await owner.execute("DROP TABLE bare")
        return taken

    async def _run(self, form: str, file: Path, database: str) -> tuple[float, str]:
        """How long the command takes from its start to its end, and what it says."""
        environment = {"HEADWATER_DATABASE_URL": self._databases.address(database)}
        began = time.perf_counter()
        with running(self._directory / "load.log", environment, "load", "ingest", form, str(file)) as process:
            status = await process.ended()
            taken = time.perf_counter() - began
            if status:
                raise LoadFailed(process.said()[-2000:])
            return taken, process.said()

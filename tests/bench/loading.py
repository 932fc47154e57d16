"""Measures loads: `headwater ingest csv` as it is run, in turn with COPY of the same file into a table that is only a table.

Each load meets a database of its own, on one server: that which the load before it has left, as autovacuum would have left it
by then. The first meets tables that nobody has ever analysed. So no figure depends on which loads are chosen.
"""

import asyncio
import re
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import asyncpg

from db import migrations
from tests.bench import entities
from tests.bench.data import in_database, plain_address, verify
from tests.bench.loads import LOADS, Load
from tests.bench.servers import running

# How often a file is copied on either side of its load.
_COPIES = 3
_STARTS = 3
_PATIENCE = 10.0

_BARE = "CREATE TABLE bare (entity_uid uuid, display_name text, entity_type text, details jsonb, change_ts timestamptz)"
_WRITTEN = """
SELECT CAST(sum(n_tup_ins + n_tup_upd + n_tup_del) AS bigint)
FROM pg_stat_user_tables
WHERE relname IN ('entity_version', 'entity_detail')
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
        return self.rows / self._loading

    @property
    def written_rate(self) -> float:
        return self.written / self._loading

    @property
    def copy_rate(self) -> float:
        return self.rows / statistics.median(self.copies)

    @property
    def ratio(self) -> float:
        return self._loading / statistics.median(self.copies)

    @property
    def ratio_range(self) -> tuple[float, float]:
        """The ratio by the slowest COPY and by the fastest: how far to trust the median."""
        return self._loading / max(self.copies), self._loading / min(self.copies)

    @property
    def _loading(self) -> float:
        return self.whole - self.start


async def measure_loads(address: str, loads: Sequence[Load], directory: Path, *, rows: int) -> list[Figures]:
    """Measure loads of so many rows each, and verify what each has left."""
    async with _databases(address) as databases:
        course = _Course(databases, directory, rows)
        await course.begin()
        return [await course.measured(load) for load in loads]


class _Databases:
    """Databases of our own on a server."""

    def __init__(self, address: str, server: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._address = address
        self._server = server
        self._names: list[str] = []

    def address(self, name: str) -> str:
        return in_database(self._address, name)

    async def create(self, template: str) -> str:
        name = f"headwater_bench_{uuid4().hex}"
        try:
            await self._server.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        except asyncpg.PostgresError as error:
            raise LoadFailed(f"A database to load into could not be created: {error}") from error
        self._names.append(name)
        return name

    async def drop(self, name: str) -> None:
        await self._server.execute(f"DROP DATABASE {name} WITH (FORCE)")
        self._names.remove(name)

    async def drop_all(self) -> None:
        for name in list(self._names):
            await self.drop(name)

    async def left_alone(self, name: str) -> None:
        """Wait until nobody is connected to it: only then it is known what was counted there."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            if not await self._server.fetchval("SELECT count(*) FROM pg_stat_activity WHERE datname = $1", name):
                return
            await asyncio.sleep(0.01)
        raise LoadFailed("The command has ended, but not its connection to the database.")


@asynccontextmanager
async def _databases(address: str) -> AsyncIterator[_Databases]:
    server = await asyncpg.connect(plain_address(address))
    databases = _Databases(address, server)
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

    def __init__(self, databases: _Databases, directory: Path, rows: int) -> None:
        self._databases = databases
        self._directory = directory
        self._rows = rows
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
        LOADS[0].write(nothing, 0)
        self._start = statistics.median([(await self._run(nothing, self._empty))[0] for _ in range(_STARTS)])

    async def measured(self, load: Load) -> Figures:
        """The figures of a load, and before them, if need be, the load that it comes after."""
        if load.name not in self._done:
            before = self._empty if load.after is None else (await self.measured(load.after)).database
            self._done[load.name] = await self._measure(load, before)
        return self._done[load.name]

    async def _measure(self, load: Load, before: str) -> Figures:
        figures = Figures(load, await self._databases.create(before), self._rows, self._start)
        file = self._directory / "load.csv"
        load.write(file, self._rows)
        figures.copies += await self._copy(file)
        figures.whole, said = await self._run(file, figures.database)
        figures.copies += await self._copy(file)
        if f"{load.found} {self._rows}" not in re.split(", |\n", said):
            raise LoadFailed(f"{load.name}: not every row was found to be {load.found}.\n{said[-2000:]}")
        await self._databases.left_alone(figures.database)
        async with _connected(self._databases.address(figures.database)) as owner:
            figures.written = await owner.fetchval(_WRITTEN)
            await owner.execute("VACUUM ANALYZE")
        await verify(self._databases.address(figures.database))
        if not any(other.after is load for other in LOADS):
            await self._databases.drop(figures.database)
        return figures

    async def _copy(self, file: Path) -> list[float]:
        """How long it takes to copy a file, each time into a new table."""
        taken: list[float] = []
        async with _connected(self._databases.address(self._bare)) as owner:
            for _ in range(_COPIES):
                await owner.execute(_BARE)
                began = time.perf_counter()
                await owner.copy_to_table("bare", source=file, format="csv", header=True)
                taken.append(time.perf_counter() - began)
                await owner.execute("DROP TABLE bare")
        return taken

    async def _run(self, file: Path, database: str) -> tuple[float, str]:
        """How long the command takes from its start to its end, and what it says."""
        environment = {"HEADWATER_DATABASE_URL": self._databases.address(database)}
        began = time.perf_counter()
        with running(self._directory / "load.log", environment, "load", "ingest", "csv", str(file)) as process:
            status = await process.ended()
            taken = time.perf_counter() - began
            if status:
                raise LoadFailed(process.said()[-2000:])
            return taken, process.said()

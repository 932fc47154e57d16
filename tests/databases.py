"""The PostgreSQL server of a test run, the template databases on it, and the clones that tests use."""

import asyncio
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg
from sqlalchemy import make_url

from db import migrations
from db.embedded.server import EmbeddedServer
from db.embedded.user import EmbeddedServerError

# Address of the server of this run. The process that starts the run sets it; xdist workers inherit it.
SERVER_VARIABLE = "HEADWATER_TEST_SERVER"
# Address of another server to test against, such as PostgreSQL 16. Its user must be a superuser.
EXTERNAL_SERVER_VARIABLE = "HEADWATER_TEST_DATABASE_URL"

# Template databases: nothing at all, the migrated schema, and what `prepare` adds.
EMPTY = "template1"
MIGRATED = "headwater_template"
PREPARED = "headwater_prepared_"

# Durability has tests of its own, on servers of their own.
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_connections": "200",
}

# A clone is 330 files; a disk takes five times as long for them as memory does.
MEMORY_DISK = Path("/dev/shm")
MEMORY_NEEDED = 2 * 1024**3
DIRECTORY_PREFIX = "headwater-tests-"
ABANDONED_AFTER = 60.0


class RunServer:
    """The server of a run, embedded unless an external one is named. Workers find its address in the environment."""

    def __init__(self) -> None:
        self._directory: Path | None = None
        self._embedded: EmbeddedServer | None = None
        self._address = ""

    def start(self) -> None:
        """Start the server, publish its address, and create the migrated template."""
        self._address = os.environ.get(EXTERNAL_SERVER_VARIABLE) or self._start_embedded()
        os.environ[SERVER_VARIABLE] = self._address
        asyncio.run(_create_migrated_template(self._address))

    def stop(self) -> None:
        """Stop the embedded server and delete its data, or drop the templates on the external one."""
        if self._embedded is not None:
            self._embedded.stop()
        elif self._address:
            asyncio.run(_drop_templates(self._address))
        if self._directory is not None:
            shutil.rmtree(self._directory)

    def _start_embedded(self) -> str:
        parent = _parent_directory()
        _remove_abandoned(parent)
        self._directory = Path(tempfile.mkdtemp(prefix=DIRECTORY_PREFIX, dir=parent))
        self._directory.chmod(0o755)
        self._embedded = EmbeddedServer.start(self._directory, SETTINGS)
        return self._embedded.address("postgres")


def _parent_directory() -> Path:
    """Return the memory disk if it has room, else the temporary directory."""
    if os.access(MEMORY_DISK, os.W_OK) and shutil.disk_usage(MEMORY_DISK).free >= MEMORY_NEEDED:
        return MEMORY_DISK
    return Path(tempfile.gettempdir())


def _remove_abandoned(parent: Path) -> None:
    """Stop the servers of runs that were killed, and delete their data: on a memory disk it would fill the memory."""
    for directory in parent.glob(f"{DIRECTORY_PREFIX}*"):
        lock = directory / "use.lock"
        if not lock.exists() or time.time() - lock.stat().st_mtime < ABANDONED_AFTER:
            continue
        with lock.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
        try:
            EmbeddedServer.start(directory).stop()
        except EmbeddedServerError:
            # another run that starts at this moment may have deleted it
            if directory.exists():
                raise
        shutil.rmtree(directory, ignore_errors=True)


async def _create_migrated_template(server: str) -> None:
    await _drop_templates(server)
    connection = await asyncpg.connect(server)
    try:
        await connection.execute(f"CREATE DATABASE {MIGRATED}")
    finally:
        await connection.close()
    await migrations.upgrade(in_database(server, MIGRATED))


async def _drop_templates(server: str) -> None:
    connection = await asyncpg.connect(server)
    try:
        templates = await connection.fetch(
            "SELECT datname FROM pg_database WHERE datname = $1 OR starts_with(datname, $2)", MIGRATED, PREPARED
        )
        for template in templates:
            await connection.execute(f"DROP DATABASE {template['datname']} WITH (FORCE)")
    finally:
        await connection.close()


def in_database(server: str, name: str) -> str:
    """Return the address of another database on the same server."""
    return make_url(server).set(database=name).render_as_string(hide_password=False)


async def prepare(server: str, name: str, fill: Callable[[str], Awaitable[None]]) -> str:
    """Return the template `name`: the migrated schema and what `fill` writes at the address that it is given.

    The first caller of a run creates it, in whichever worker; the others wait for it.
    """
    template = PREPARED + name
    draft = f"{template}_draft"
    connection = await asyncpg.connect(server)
    try:
        # the lock ends with the connection
        await connection.execute("SELECT pg_advisory_lock(hashtext($1))", template)
        if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", template):
            await connection.execute(f"DROP DATABASE IF EXISTS {draft} WITH (FORCE)")
            await connection.execute(f"CREATE DATABASE {draft} TEMPLATE {MIGRATED} STRATEGY FILE_COPY")
            await fill(in_database(server, draft))
            await connection.execute(f"ALTER DATABASE {draft} RENAME TO {template}")
    finally:
        await connection.close()
    return template


@asynccontextmanager
async def temporary_database(server: str, template: str = MIGRATED) -> AsyncIterator[str]:
    """Clone a template, yield the address of the clone, and drop it."""
    name = f"test_{os.getpid()}_{time.monotonic_ns()}"
    connection = await asyncpg.connect(server)
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        yield in_database(server, name)
    finally:
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await connection.close()


class Reset:
    """Deletes what a test has written to a database that was cloned from a template without rows but the tenant's."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]", script: str) -> None:
        self._connection = connection
        self._script = script

    @classmethod
    async def of(cls, address: str) -> "Reset":
        connection = await asyncpg.connect(address)
        return cls(connection, await connection.fetchval(_RESET_SCRIPT))

    async def run(self) -> None:
        """Leave the database as it was created. It fails if a transaction still holds a lock."""
        await self._connection.execute(self._script)

    async def close(self) -> None:
        await self._connection.close()


# A script that empties the tables and restarts their sequences, in one round trip. After TRUNCATE, which gives the tables new
# files, all connections would plan their statements anew.
_RESET_SCRIPT = """
SELECT 'BEGIN; SET LOCAL lock_timeout = ''5s''; SET LOCAL session_replication_role = replica; '
  || (SELECT string_agg(format('DELETE FROM %I.%I; ', schemaname, tablename), '')
      FROM pg_tables WHERE schemaname = 'public' AND tablename NOT IN ('tenant', 'alembic_version'))
  || (SELECT string_agg(format('SELECT setval(%L, %s, %L); ', format('%I.%I', schemaname, sequencename),
        coalesce(last_value, start_value), last_value IS NOT NULL), '')
      FROM pg_sequences WHERE schemaname = 'public')
  || 'COMMIT'
"""


@contextmanager
def shared_database(server: str, template: str = MIGRATED) -> Iterator[str]:
    """Do as `temporary_database` does, for fixtures that are not functions of an event loop."""
    with asyncio.Runner() as runner:
        database = temporary_database(server, template)
        yield runner.run(database.__aenter__())
        runner.run(database.__aexit__(None, None, None))


@contextmanager
def examples_database(server: str, template: str = MIGRATED) -> Iterator[str]:
    """Do as `shared_database` does, for random examples, which repeat few statements on few rows.

    PostgreSQL plans each statement once a connection. With the parameters of each execution it would take longer to plan the
    statements than to execute them; tests of plans do so.
    """
    with shared_database(server, template) as address, asyncio.Runner() as runner:
        runner.run(_use_generic_plans(address))
        yield address


async def _use_generic_plans(address: str) -> None:
    connection = await asyncpg.connect(address)
    try:
        name = await connection.fetchval("SELECT quote_ident(current_database())")
        await connection.execute(f"ALTER DATABASE {name} SET plan_cache_mode = force_generic_plan")
    finally:
        await connection.close()


def prepare_now(server: str, name: str, fill: Callable[[str], Awaitable[None]]) -> str:
    """Do as `prepare` does, for fixtures that are not functions of an event loop."""
    with asyncio.Runner() as runner:
        return runner.run(prepare(server, name, fill))


def prepare_scripts(server: str, name: str, *scripts: str) -> str:
    """Do as `prepare_now` does, with scripts that the owner of the tables runs."""

    async def run(address: str) -> None:
        owner = await asyncpg.connect(address)
        try:
            for script in scripts:
                await owner.execute(script)
        finally:
            await owner.close()

    return prepare_now(server, name, run)

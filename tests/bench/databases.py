"""The databases: on a server of the run, or on the one that HEADWATER_BENCH_DATABASE_URL names."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from db.author import Author
from db.database import Database
from db.driver import driver_address
from db.embedded.server import EmbeddedServer
from db.temporal.verification import verify_tenant
from db.tenancy import api_key
from db.tenancy.api_key import KeySigner
from db.tenant_ids import DEFAULT_TENANT_ID

DATABASE_VARIABLE = "HEADWATER_BENCH_DATABASE_URL"

# The secret that signs API keys. The databases last as long as a run.
KEY_SECRET = "of the benchmark, whose data is public"


class OtherData(Exception):
    """The named database holds data that no benchmark wrote."""


class NotVerified(Exception):
    """The versions differ from the change log, so the measured writes were not correct."""


async def make_key(address: str, tenant_id: int, *scopes: str) -> str:
    """Create an API key of a tenant."""
    database = Database(address, pool_size=1)
    try:
        async with database.transaction(tenant_id, Author("bench")) as connection:
            _, key = await api_key.create(connection, KeySigner(KEY_SECRET.encode()), "bench", scopes)
    finally:
        await database.close()
    return key


def plain_address(address: str) -> str:
    """Return the address in the form that asyncpg takes."""
    return driver_address(address).set(drivername="postgresql").render_as_string(hide_password=False)


def in_database(address: str, name: str) -> str:
    """Return the address of another database on the same server."""
    return driver_address(address).set(drivername="postgresql", database=name).render_as_string(hide_password=False)


@contextmanager
def database(directory: Path) -> Iterator[str]:
    """Yield the address of the named database, or of one on an embedded server in the directory."""
    if named := os.environ.get(DATABASE_VARIABLE):
        yield named
        return
    # Waiting for the disk would add the same to both sides and hide their difference. A vacuum would slow down only one.
    with EmbeddedServer.start(directory, {"fsync": "off", "autovacuum": "off"}) as server:
        server.ensure_database("bench")
        yield server.address("bench")


def make_directory() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="headwater-bench-"))
    # started by root, the server runs as another user, who has to pass through
    directory.chmod(0o755)
    return directory


def remove_directory(directory: Path) -> None:
    """Remove what a run has left, including the server of a killed run. Do nothing if the directory does not exist."""
    if not directory.exists():
        return
    if (directory / "postgres.socket").exists():
        # the last user of a server stops it
        EmbeddedServer.start(directory).stop()
    location = directory / "postgres.location"
    if location.exists():
        shutil.rmtree(location.read_text().splitlines()[-1], ignore_errors=True)
    shutil.rmtree(directory, ignore_errors=True)


async def verify(address: str) -> None:
    """Check that log, versions and details agree."""
    database = Database(address, statement_timeout=600)
    try:
        async with database.snapshot(DEFAULT_TENANT_ID) as connection:
            report = await verify_tenant(connection)
    finally:
        await database.close()
    if report.differences:
        raise NotVerified(f"{len(report.differences)} differences between log and versions, the first: {report.differences[0]}")

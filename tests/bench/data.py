"""The measured database: one on a server of the run, or the one that HEADWATER_BENCH_DATABASE_URL names."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from db import migrations
from db.author import Author
from db.database import Database
from db.driver import driver_address
from db.embedded.server import EmbeddedServer
from db.temporal.verification import verify_tenant
from db.tenancy import api_key
from db.tenancy.api_key import KeySigner
from graph_api.auth.tenant_ids import DEFAULT_TENANT_ID
from graph_api.settings import Settings
from tests.bench import entities, products, relationships
from tests.bench.graph import Scale
from tests.bench.versions import VERSIONS

DATABASE_VARIABLE = "HEADWATER_BENCH_DATABASE_URL"

# The secret that signs API keys. The databases last as long as a run.
KEY_SECRET = "of the benchmark, whose data is public"
UNLIMITED_RATE = "1000000000000/minute"


class OtherData(Exception):
    """The named database holds data that no benchmark wrote."""


class NotVerified(Exception):
    """The versions differ from the change log, so the measured writes were not correct."""


@dataclass(frozen=True, slots=True)
class Size:
    """Amounts of measured data."""

    products: int
    entities: int
    # rows of each file that is loaded
    rows: int
    # most samples of an operation
    samples: int
    # runs of a load without rows
    starts: int
    # the graph that is loaded and walked
    graph: Scale


def settings_for(address: str) -> Settings:
    """Return the settings of the measured service: bounds that admit the largest walk, and rates that are counted but never
    exceeded."""
    return Settings(
        database_url=address,
        key_secret=KEY_SECRET,
        max_lineage_page_size=10_000,
        max_lineage_assets=10_000,
        max_lineage_links=40_000,
        tenant_rate=UNLIMITED_RATE,
        key_rate=UNLIMITED_RATE,
    )


async def make_key(address: str, tenant_id: int, *scopes: str) -> str:
    """Create an API key of a tenant."""
    database = Database(address, pool_size=1)
    try:
        async with database.transaction(tenant_id, Author("bench")) as connection:
            _, key = await api_key.create(connection, KeySigner(KEY_SECRET.encode()), "bench", scopes)
    finally:
        await database.close()
    return key


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the environment variables of a process that runs with these settings."""
    return {f"HEADWATER_{name.upper()}": str(value) for name, value in settings.model_dump(exclude_defaults=True).items()}


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


async def prepare(address: str, size: Size) -> None:
    """Migrate the database and fill it, unless an earlier run has filled it with the same data."""
    await migrations.upgrade(address)
    owner = await asyncpg.connect(plain_address(address))
    try:
        assets = {products.product_uid(number) for number in range(size.products)}
        assets |= {entities.entity_uid(number) for number in range(size.entities)}
        related = {it.uid: it for it in relationships.relationships(size.entities, size.products)}
        fewest_changes = len(assets) * VERSIONS + sum(len(it.timeline) for it in related.values())
        existing = {it["uid"] for it in await owner.fetch("SELECT uid FROM asset UNION ALL SELECT uid FROM relationship")}
        if not existing:
            await products.fill(address, owner, size.products)
            await entities.fill(owner, size.entities)
            await relationships.fill(address, owner, list(related.values()))
        elif existing != assets | related.keys() or await _count_changes(owner) < fewest_changes:
            raise OtherData(f"{DATABASE_VARIABLE} names a database that holds other data. Name an empty one.")
        await owner.execute("VACUUM ANALYZE")
        if not existing:
            await verify(address)
    finally:
        await owner.close()


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


async def _count_changes(owner: "asyncpg.Connection[asyncpg.Record]") -> int:
    return int(await owner.fetchval("SELECT count(*) FROM change"))

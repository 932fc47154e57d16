"""The database that is measured: an own one on an own server, or the one that HEADWATER_BENCH_DATABASE_URL names."""

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

GIVEN = "HEADWATER_BENCH_DATABASE_URL"

# What keys are made and proven with, in databases that last as long as a run.
KEY_SECRET = "of the bench, which has nothing to hide"
ANY_RATE = "1000000000000/minute"


class OtherDataThere(Exception):
    """The database that was named holds something that is not ours to write into."""


class NotSound(Exception):
    """The versions are not what the log says, so whatever was measured was not done."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is of what is measured."""

    products: int
    entities: int
    # of each file that is loaded
    rows: int
    # of each operation, at most
    samples: int
    # that is loaded, and asked for lineage
    graph: Scale


def settings_for(address: str) -> Settings:
    """How the service runs that is measured: a walk may go as far as the largest one that is asked for, and one caller may ask on
    and on, which is counted all the same."""
    return Settings(
        database_url=address,
        key_secret=KEY_SECRET,
        max_lineage_page_size=10_000,
        max_lineage_assets=10_000,
        max_lineage_links=40_000,
        tenant_rate=ANY_RATE,
        key_rate=ANY_RATE,
    )


async def make_key(address: str, tenant_id: int, *scopes: str) -> str:
    """A key of a tenant, as the service would make it."""
    database = Database(address, pool_size=1)
    try:
        async with database.transaction(tenant_id, Author("bench")) as connection:
            _, key = await api_key.create(connection, KeySigner(KEY_SECRET.encode()), "bench", scopes)
    finally:
        await database.close()
    return key


def environment_of(settings: Settings) -> dict[str, str]:
    """What a process has to be told to run like this."""
    return {f"HEADWATER_{name.upper()}": str(value) for name, value in settings.model_dump(exclude_defaults=True).items()}


def plain_address(address: str) -> str:
    """The address as asyncpg itself takes it, whichever way it was written."""
    return driver_address(address).set(drivername="postgresql").render_as_string(hide_password=False)


def in_database(address: str, name: str) -> str:
    """The same server, another database."""
    return driver_address(address).set(drivername="postgresql", database=name).render_as_string(hide_password=False)


@contextmanager
def database(directory: Path) -> Iterator[str]:
    """The address of a database, for as long as the block lasts. A server of our own lives in that directory."""
    if given := os.environ.get(GIVEN):
        yield given
        return
    # Waiting for the disk would add the same to both sides and hide what is between them; a vacuum would hit only one.
    with EmbeddedServer.start(directory, {"fsync": "off", "autovacuum": "off"}) as server:
        server.ensure_database("bench")
        yield server.address("bench")


def make_directory() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="headwater-bench-"))
    # started by root, the server runs as somebody else, who has to get there
    directory.chmod(0o755)
    return directory


def remove_directory(directory: Path) -> None:
    """Remove what a run has left, and stop the server in it if a killed run left that too. Twice is as good as once."""
    if not directory.exists():
        return
    if (directory / "postgres.socket").exists():
        # who joins it as the only one is the last to leave, and that stops it
        EmbeddedServer.start(directory).stop()
    location = directory / "postgres.location"
    if location.exists():
        shutil.rmtree(location.read_text().splitlines()[-1], ignore_errors=True)
    shutil.rmtree(directory, ignore_errors=True)


async def prepare(address: str, size: Size) -> None:
    """Migrate the database and fill it, unless an earlier run has filled it alike."""
    await migrations.upgrade(address)
    owner = await asyncpg.connect(plain_address(address))
    try:
        assets = {products.product_uid(number) for number in range(size.products)}
        assets |= {entities.entity_uid(number) for number in range(size.entities)}
        joins = {join.uid: join for join in relationships.joins(size.entities, size.products)}
        least = len(assets) * VERSIONS + sum(len(join.tale) for join in joins.values())
        found = {it["uid"] for it in await owner.fetch("SELECT uid FROM asset UNION ALL SELECT uid FROM relationship")}
        if not found:
            await products.fill(address, owner, size.products)
            await entities.fill(owner, size.entities)
            await relationships.fill(address, owner, list(joins.values()))
        elif found != assets | joins.keys() or await _changes(owner) < least:
            raise OtherDataThere(f"{GIVEN} names a database that holds other data. Name an empty one.")
        await owner.execute("VACUUM ANALYZE")
        if not found:
            await verify(address)
    finally:
        await owner.close()


async def verify(address: str) -> None:
    """See that log, versions and details agree."""
    database = Database(address, statement_timeout=600)
    try:
        async with database.snapshot(DEFAULT_TENANT_ID) as connection:
            report = await verify_tenant(connection)
    finally:
        await database.close()
    if report.differences:
        raise NotSound(f"{len(report.differences)} differences between log and versions, the first: {report.differences[0]}")


async def _changes(owner: "asyncpg.Connection[asyncpg.Record]") -> int:
    return int(await owner.fetchval("SELECT count(*) FROM change"))

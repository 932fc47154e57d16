"""The database that is measured: an own one on an own server, or the one that HEADWATER_BENCH_DATABASE_URL names."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import asyncpg
from sqlalchemy import text

from db import asset, migrations, product_fields
from db.connection import Author, Database, driver_address
from db.embedded import EmbeddedServer
from db.product import PRODUCT
from db.sql import load
from db.temporal import Assertion, Operation, record
from graph_api.auth import DEFAULT_TENANT_ID

GIVEN = "HEADWATER_BENCH_DATABASE_URL"
VERSIONS = 5
# Products from this number on are there to be updated; those before it stay as they are, and so does what is read of them.
UPDATED_FROM = 100

_BEGINNING = datetime(2025, 1, 1, tzinfo=UTC)


class OtherDataThere(Exception):
    """The database that was named holds something that is not ours to write into."""


def product_name(number: int) -> str:
    return f"product_{number:06}"


def product_uid(number: int) -> UUID:
    return uuid5(NAMESPACE_URL, f"headwater-bench/{product_name(number)}")


def plain_address(address: str) -> str:
    """The address as asyncpg itself takes it, whichever way it was written."""
    return driver_address(address).set(drivername="postgresql").render_as_string(hide_password=False)


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


async def prepare(address: str, products: int) -> None:
    """Migrate the database and fill it, unless an earlier run has filled it alike."""
    await migrations.upgrade(address)
    owner = await asyncpg.connect(plain_address(address))
    try:
        found = {it["uid"] for it in await owner.fetch("SELECT uid FROM asset")}
        if not found:
            await _fill(address, owner, products)
        elif found != {product_uid(number) for number in range(products)} or await _changes(owner) < products * VERSIONS:
            raise OtherDataThere(f"{GIVEN} names a database that holds other data. Name an empty one.")
        await owner.execute("VACUUM ANALYZE")
    finally:
        await owner.close()


async def _changes(owner: "asyncpg.Connection[asyncpg.Record]") -> int:
    return int(await owner.fetchval("SELECT count(*) FROM change"))


async def _fill(address: str, owner: "asyncpg.Connection[asyncpg.Record]", products: int) -> None:
    database = Database(address)
    numbers = range(products)
    try:
        async with database.transaction(DEFAULT_TENANT_ID, Author("bench")) as connection:
            add_domain = text(load("add_domain"))
            for domain in sorted({_domain(number) for number in numbers}):
                await connection.execute(add_domain, {"name": domain})
            subjects = [await asset.add_or_lock(connection, PRODUCT, asset.Ref(product_uid(number))) for number in numbers]
        for version in range(VERSIONS):
            said = Operation.PATCH if version else Operation.SET
            content = [_changed(number, version) if version else _product(number) for number in numbers]
            at = _BEGINNING + timedelta(days=30 * version)
            assertions = [Assertion(*it, at) for it in zip(subjects, [said] * products, content, strict=True)]
            async with database.transaction(DEFAULT_TENANT_ID, Author("bench")) as connection:
                await record(connection, PRODUCT, assertions)
            # a batch into tables without statistics takes four times as long
            await owner.execute("ANALYZE")
    finally:
        await database.close()


def _domain(number: int) -> str:
    return f"domain_{number % 20:02}"


def _product(number: int) -> dict[str, Any]:
    schema = {"fields": [{"name": f"column_{column}", "type": "string"} for column in range(8)]}
    return product_fields.whole(
        {
            "name": product_name(number),
            "domain": _domain(number),
            "owner": f"owner_{number % 50}@shop.example",
            "description": f"What number {number} of the measured products holds, in about as many words as people take for it.",
            "schema": schema,
            "tags": ["measured", f"group-{number % 7}"],
        }
    )


def _changed(number: int, version: int) -> dict[str, Any]:
    return product_fields.patch({"version": f"1.{version}.0", "owner": f"owner_{(number + version) % 50}@shop.example"})

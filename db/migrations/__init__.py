"""Brings a database to the schema this code was written for. The bodies are SQL; Alembic keeps the order and the record."""

import asyncio
from pathlib import Path

from alembic import command, op
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from db.database import owner_transaction

# Any two processes that migrate agree on this number and on nothing else.
MIGRATION_LOCK = 0x4EAD_A7E2


def run_body(revision_file: str) -> None:
    """Run the SQL file beside a revision: many statements, sent as they stand."""
    body = Path(revision_file).with_suffix(".sql").read_text()
    connection = op.get_bind().connection.dbapi_connection
    connection.run_async(lambda driver: driver.execute(body))  # type: ignore[union-attr]


def latest_revision() -> str:
    """The revision this code was written for."""
    revision = ScriptDirectory.from_config(_configuration()).get_current_head()
    assert revision is not None
    return revision


async def revision_of(address: str) -> str | None:
    """The revision the database is at, or nothing where it was never migrated."""
    async with owner_transaction(address) as connection:
        return await connection.run_sync(_applied)


async def upgrade(address: str) -> tuple[str | None, str]:
    """Migrate to the latest revision, whoever else may be doing so now. Gives the revision before and after."""
    async with owner_transaction(address) as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
        before = await connection.run_sync(_applied)
        await connection.run_sync(_upgrade)
    return before, latest_revision()


def upgrade_now(address: str) -> tuple[str | None, str]:
    return asyncio.run(upgrade(address))


def _applied(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _upgrade(connection: Connection) -> None:
    configuration = _configuration()
    configuration.attributes["connection"] = connection
    command.upgrade(configuration, "head")


def _configuration() -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    configuration.set_main_option("path_separator", "os")
    return configuration

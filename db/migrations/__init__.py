"""Migrations: bring a database to the schema that this version expects. The bodies are SQL; Alembic orders and records them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
from alembic import command, op
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from db.driver import driver_address, missing_privilege, translated_errors
from db.revision import latest_revision

# Key of the advisory lock that serialises migrations.
MIGRATION_LOCK = 0x4EAD_A7E2


def run_body(revision_file: str) -> None:
    """Run the SQL file of a revision. It holds many statements, which are sent as one script."""
    body = Path(revision_file).with_suffix(".sql").read_text()
    connection = op.get_bind().connection.dbapi_connection
    connection.run_async(lambda driver: driver.execute(body))  # type: ignore[union-attr]


async def upgrade(address: str, *, to: str | None = None) -> tuple[str | None, str]:
    """Migrate to a revision, by default the latest, even if other processes do so at the same time. Return the revisions
    before and after."""
    target = to or latest_revision()
    async with _owner_transaction(address) as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
        before = await connection.run_sync(_current_revision)
        await connection.run_sync(_upgrade, target)
    return before, target


def upgrade_now(address: str) -> tuple[str | None, str]:
    return asyncio.run(upgrade(address))


@asynccontextmanager
async def _owner_transaction(address: str) -> AsyncIterator[AsyncConnection]:
    """Open a transaction of SQLAlchemy, which Alembic needs, as the user who owns the tables."""
    engine = create_async_engine(driver_address(address), poolclass=NullPool)
    try:
        with translated_errors():
            async with engine.begin() as connection:
                yield connection
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == asyncpg.InsufficientPrivilegeError.sqlstate:
            raise missing_privilege(error.orig) from error
        raise
    finally:
        await engine.dispose()


def _current_revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _upgrade(connection: Connection, revision: str) -> None:
    configuration = _configuration()
    configuration.attributes["connection"] = connection
    command.upgrade(configuration, revision)


def _configuration() -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    configuration.set_main_option("path_separator", "os")
    return configuration

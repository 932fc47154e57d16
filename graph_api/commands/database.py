"""The database of a command: the given one, or that of the embedded server."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from db.database import Database
from db.embedded.server import EmbeddedServer
from db.errors import NotFound, Unavailable
from db.revision import latest_revision, revision_of
from db.tenancy.tenant import tenant_id_of
from db.tenant_ids import NO_TENANT_ID
from graph_api.auth.key_secret import load_or_create_secret
from graph_api.command_settings import CommandSettings, read_settings_of
from graph_api.commands.output import naming_file
from graph_api.commands.supervision import supervised

# Name of the database on the embedded server.
DATABASE = "headwater"

S = TypeVar("S", bound=CommandSettings)


@contextmanager
def running_database(settings: S) -> Iterator[S]:
    """Yield the settings with the address of a database that runs.

    Without a given address the embedded server runs for the time of the block, and is started again if it ends. The key secret is
    kept beside its data.
    """
    if settings.database_url is not None:
        yield settings
        return
    with EmbeddedServer.start(settings.data) as server, supervised(server):
        server.ensure_database(DATABASE)
        secret = settings.key_secret or _kept_secret(settings.data / "key.secret")
        yield settings.model_copy(update={"database_url": server.address(DATABASE), "key_secret": secret})


@contextmanager
def migrated_database(settings: S) -> Iterator[S]:
    """Yield the settings with the address of a database that runs and is migrated."""
    with running_database(settings) as running:
        asyncio.run(_require_migrated(running))
        yield running


def migrated_database_of(data: Path | None) -> AbstractContextManager[CommandSettings]:
    """Open the migrated database of a command that needs no other settings."""
    return migrated_database(read_settings_of(CommandSettings, data=data))


def address_of(settings: CommandSettings) -> str:
    """Return the address of the database in settings that `running_database` has completed."""
    assert settings.database_url is not None
    return settings.database_url


@asynccontextmanager
async def open_database(settings: CommandSettings, **options: Any) -> AsyncIterator[Database]:
    """Open a pool of one connection, and close it at the end of the block."""
    database = Database(address_of(settings), pool_size=1, **options)
    try:
        yield database
    finally:
        await database.close()


async def tenant_named(database: Database, name: str) -> int:
    """Return the id of the tenant with a name, or raise NotFound."""
    async with database.snapshot(NO_TENANT_ID) as connection:
        tenant_id = await tenant_id_of(connection, name)
    if tenant_id is None:
        raise unknown_tenant(name)
    return tenant_id


def unknown_tenant(name: str) -> NotFound:
    """Return the error for a tenant that does not exist."""
    return NotFound(f"There is no tenant called {name!r}. See: headwater tenants list", field="tenant")


async def _require_migrated(settings: CommandSettings) -> None:
    applied, latest = await revision_of(address_of(settings)), latest_revision()
    if applied != latest:
        raise Unavailable(f"The database is at revision {applied or 'none'}, this version needs {latest}. Run: headwater migrate")


def _kept_secret(path: Path) -> str:
    with naming_file(path):
        return load_or_create_secret(path)

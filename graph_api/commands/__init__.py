"""What every command shares: where it writes, which database it works on, and on whose behalf."""

import getpass
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer
from rich.console import Console

from db import migrations
from db.author import Author
from db.database import Database
from db.embedded.server import EmbeddedServer
from db.errors import BadInput, NotFound, Unavailable
from db.tenancy.tenant import tenant_id_of
from graph_api.auth.authenticator import NOBODY, kept_secret
from graph_api.settings import Settings

DATABASE = "headwater"

out = Console()
err = Console(stderr=True)

Data = Annotated[Path | None, typer.Option(help="Directory of the embedded server. [HEADWATER_DATA]")]
InTenant = Annotated[str, typer.Option("--tenant", help="In which tenant, by its name.")]

# What the first migration calls the tenant that it makes.
DEFAULT_TENANT = "default"


@contextmanager
def on_database(settings: Settings) -> Iterator[Settings]:
    """The settings with an address in them: the one given, or that of the embedded server, which runs for as long, and beside
    whose data lies a secret for keys."""
    if settings.database_url is not None:
        yield settings
        return
    with EmbeddedServer.start(settings.data) as server:
        server.ensure_database(DATABASE)
        secret = settings.key_secret or _kept_secret(settings.data / "key.secret")
        yield settings.model_copy(update={"database_url": server.address(DATABASE), "key_secret": secret})


def _kept_secret(path: Path) -> str:
    with blaming(path):
        return kept_secret(path)


def address_of(settings: Settings) -> str:
    assert settings.database_url is not None
    return settings.database_url


async def require_migrated(settings: Settings) -> None:
    applied, latest = await migrations.revision_of(address_of(settings)), migrations.latest_revision()
    if applied != latest:
        raise Unavailable(f"The database is at revision {applied or 'none'}, this version needs {latest}. Run: headwater migrate")


async def tenant_named(database: Database, name: str) -> int:
    """Which tenant bears a name."""
    async with database.snapshot(NOBODY) as connection:
        tenant_id = await tenant_id_of(connection, name)
    if tenant_id is None:
        raise no_tenant(name)
    return tenant_id


def no_tenant(name: str) -> NotFound:
    return NotFound(f"There is no tenant called {name!r}. See: headwater tenants list", field="tenant")


def author_of(operation: str) -> Author:
    """The user of this machine, who has the keys to everything."""
    return Author(user(), str(uuid4()), operation, "command line")


def show(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table, a line a row however wide it gets."""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


@contextmanager
def blaming(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadInput(f"{path} cannot be used: {error.strerror}.") from error


def user() -> str:
    """Who runs this, if this machine has a name for them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "command line"

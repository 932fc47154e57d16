"""The commands. Each says what is wrong in one line where something is, and ends with 1."""

import asyncio
import signal
import sys
from types import FrameType
from typing import Annotated

import structlog
import typer
from rich.markup import escape

from db import migrations
from db.database import Database
from db.errors import HeadwaterError
from db.temporal.verification import verify_tenant
from db.tenancy import api_key
from db.tenancy.scope import SCOPES
from db.tenancy.tenant import all_tenants
from graph_api import asgi
from graph_api import demo as mesh
from graph_api.auth.authenticator import DEFAULT_TENANT_ID, key_signer
from graph_api.commands import Data, address_of, author_of, err, on_database, out, require_migrated
from graph_api.commands.audit import show_audit
from graph_api.commands.documents import check_documents
from graph_api.commands.export import exports
from graph_api.commands.ingest import ingest
from graph_api.commands.keys import keys
from graph_api.commands.purge import purge
from graph_api.commands.schema import print_schema
from graph_api.commands.tenants import tenants
from graph_api.graphiql.examples import EXAMPLES
from graph_api.http.loopback import require_loopback
from graph_api.settings import Settings, read_settings

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Where data came from, what it feeds, and what that looked like then."
)
app.add_typer(ingest, name="ingest")
app.add_typer(exports, name="export")
app.add_typer(tenants, name="tenants")
app.add_typer(keys, name="keys")
app.command("audit")(show_audit)
app.command("purge")(purge)
app.command("schema")(print_schema)
app.command("documents")(check_documents)
log = structlog.get_logger("headwater")

Host = Annotated[str | None, typer.Option(help="Address to listen on. [HEADWATER_HOST]")]
Port = Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one. [HEADWATER_PORT]")]


@app.command()
def demo(host: Host = None, port: Port = None, data: Data = None) -> None:
    """Migrate, load the demo mesh once, and serve it on this machine, without credentials."""
    settings = read_settings(host=host, port=port, data=data)
    require_loopback(settings.host)
    with on_database(settings) as running:
        migrations.upgrade_now(address_of(running))
        loaded = asyncio.run(_load_mesh(running))
        out.print("The demo mesh is loaded." if loaded else "The data of the last run is still here.")
        # what is open is so in this process alone: no setting opens another
        asgi.serve(running.model_copy(update={"workers": 1}), _introduce, guarded=False)


@app.command()
def serve(
    host: Host = None,
    port: Port = None,
    workers: Annotated[int | None, typer.Option(help="Processes that serve. [HEADWATER_WORKERS]")] = None,
    data: Data = None,
) -> None:
    """Serve the API, to whoever has a key or a token. The database has to be migrated."""
    with on_database(read_settings(host=host, port=port, workers=workers, data=data)) as running:
        asyncio.run(require_migrated(running))
        first = {"bootstrap_key": "made"} if asyncio.run(_make_bootstrap_key(running)) else {}
        asgi.serve(running, lambda address: log.info("serving", address=address, **first))


@app.command()
def migrate(data: Data = None) -> None:
    """Bring the database to the schema of this version. Safe to repeat, and to run twice at once."""
    with on_database(read_settings(data=data)) as running:
        before, after = migrations.upgrade_now(address_of(running))
    out.print(f"The database is at revision {after}." if before == after else f"Migrated from {before or 'nothing'} to {after}.")


@app.command()
def verify(data: Data = None) -> None:
    """Fold the whole log anew and compare it with what stands. Names each difference, and ends with 1 if there is one."""
    with on_database(read_settings(data=data)) as running:
        asyncio.run(require_migrated(running))
        differences = asyncio.run(_verify(running))
    if differences:
        raise typer.Exit(1)


async def _load_mesh(settings: Settings) -> bool:
    database = Database(address_of(settings))
    try:
        return await mesh.load(database)
    finally:
        await database.close()


async def _make_bootstrap_key(settings: Settings) -> bool:
    """Make the first key, if one was made up for that and there is none. Says whether it did."""
    seal = key_signer(settings)
    if settings.bootstrap_key is None:
        return False
    database = Database(address_of(settings), pool_size=1)
    try:
        async with database.transaction(DEFAULT_TENANT_ID, author_of("bootstrap")) as connection:
            return await api_key.bootstrap(connection, seal, settings.bootstrap_key, SCOPES)
    finally:
        await database.close()


async def _verify(settings: Settings) -> int:
    database = Database(address_of(settings), statement_timeout=3600)
    differences = 0
    try:
        for tenant in await all_tenants(address_of(settings)):
            async with database.snapshot(tenant.tenant_id) as connection:
                report = await verify_tenant(connection)
            for difference in report.differences:
                out.print(f"{tenant.name}: {difference}", markup=False, soft_wrap=True)
            differences += len(report.differences)
            out.print(
                f"{tenant.name}: {report.changes} changes, {report.versions} versions, {len(report.differences)} differences"
            )
    finally:
        await database.close()
    return differences


def _introduce(address: str) -> None:
    """One address to open, and two queries to begin with."""
    out.print(f"\nHeadwater is at [bold]{address}[/bold]. Open it in a browser; Ctrl-C ends it.\n", soft_wrap=True)
    for example in EXAMPLES[:2]:
        out.print(f"# {example.name}\n{example.query}", markup=False, highlight=False, soft_wrap=True)


def _leave(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> None:
    """The entry of the `headwater` command."""
    # these end a process on the spot by default; this way it leaves through the doors that clean up
    for number in (signal.SIGTERM, signal.SIGHUP):
        # what nohup has ignored stays ignored
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)
    try:
        app()
    except HeadwaterError as error:
        err.print(f"[red]error:[/red] {escape(error.message)}", soft_wrap=True)
        sys.exit(1)

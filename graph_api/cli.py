"""The commands. Each says what is wrong in one line where something is, and ends with 1."""

import asyncio
import gc
import getpass
import os
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Annotated, BinaryIO, TextIO
from uuid import uuid4

import structlog
import typer
from rich.console import Console
from rich.markup import escape

from db import embedded, migrations
from db.connection import Author, Database
from db.errors import BadInput, HeadwaterError, Unavailable
from db.instants import read_instant
from db.tenant import all_tenants
from db.verification import verify_tenant
from graph_api import demo as mesh
from graph_api import serving
from graph_api.auth import DEFAULT_TENANT_ID, require_loopback
from graph_api.examples import EXAMPLES
from graph_api.export import lines
from graph_api.ingestion.csv import CsvFile
from graph_api.ingestion.entity_csv import EntityFile
from graph_api.ingestion.jsonl import JsonLines
from graph_api.ingestion.loading import Load, OnError
from graph_api.ingestion.progress import Progress, Rejects
from graph_api.ingestion.relationship_csv import RelationshipFile
from graph_api.purge import Purge
from graph_api.settings import Settings, read_settings
from schema.root import schema as graphql_schema

DATABASE = "headwater"

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Where data came from, what it feeds, and what that looked like then."
)
ingest = typer.Typer(no_args_is_help=True, help="Load what other tools know, from files.")
app.add_typer(ingest, name="ingest")
exports = typer.Typer(no_args_is_help=True, help="Write what is known to files, for other tools and for this one.")
app.add_typer(exports, name="export")
log = structlog.get_logger("headwater")
out = Console()
err = Console(stderr=True)

Host = Annotated[str | None, typer.Option(help="Address to listen on. [HEADWATER_HOST]")]
Port = Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one. [HEADWATER_PORT]")]
Data = Annotated[Path | None, typer.Option(help="Directory of the embedded server. [HEADWATER_DATA]")]
File = Annotated[Path, typer.Argument(help="The file; - is standard input.", metavar="FILE")]
BadRows = Annotated[OnError, typer.Option(help="What a bad row does: end the load, or stay behind.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check and count everything, keep nothing. One transaction holds its locks meanwhile.")
]
RejectsFile = Annotated[Path | None, typer.Option(help="A CSV file to name every refused row in.", metavar="FILE")]
Actor = Annotated[str | None, typer.Option(help="Who loads, as the log has it. The user of this machine by default.")]


@app.command()
def demo(host: Host = None, port: Port = None, data: Data = None) -> None:
    """Migrate, load the demo mesh once, and serve it on this machine, without credentials."""
    settings = read_settings(host=host, port=port, data=data)
    require_loopback(settings.host)
    with _database(settings) as running:
        migrations.upgrade_now(_address(running))
        loaded = asyncio.run(_load_mesh(running))
        out.print("The demo mesh is loaded." if loaded else "The data of the last run is still here.")
        serving.serve(running, _introduce)


@app.command()
def serve(
    host: Host = None,
    port: Port = None,
    workers: Annotated[int | None, typer.Option(help="Processes that serve. [HEADWATER_WORKERS]")] = None,
    data: Data = None,
) -> None:
    """Serve the API. The database has to be migrated."""
    settings = read_settings(host=host, port=port, workers=workers, data=data)
    require_loopback(settings.host)
    with _database(settings) as running:
        asyncio.run(_require_migrated(running))
        serving.serve(running, lambda address: log.info("serving", address=address))


@app.command()
def migrate(data: Data = None) -> None:
    """Bring the database to the schema of this version. Safe to repeat, and to run twice at once."""
    with _database(read_settings(data=data)) as running:
        before, after = migrations.upgrade_now(_address(running))
    out.print(f"The database is at revision {after}." if before == after else f"Migrated from {before or 'nothing'} to {after}.")


@app.command()
def verify(data: Data = None) -> None:
    """Fold the whole log anew and compare it with what stands. Names each difference, and ends with 1 if there is one."""
    with _database(read_settings(data=data)) as running:
        asyncio.run(_require_migrated(running))
        differences = asyncio.run(_verify(running))
    if differences:
        raise typer.Exit(1)


@app.command()
def purge(
    tenant: Annotated[str | None, typer.Option(help="The tenant. All of them by default.", metavar="NAME")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would be removed, and remove nothing.")] = False,
    data: Data = None,
) -> None:
    """Remove for good what was deleted longer ago than its tenant keeps it. Says how much that was; safe to repeat."""
    with _database(read_settings(data=data)) as running:
        asyncio.run(_require_migrated(running))
        interrupted = asyncio.run(_purge(running, tenant, dry_run=dry_run))
    if interrupted is not None:
        err.print("Interrupted. What is counted is gone for good; running it again removes the rest.", soft_wrap=True)
        raise typer.Exit(128 + interrupted)


@ingest.command("csv")
def ingest_csv(
    file: File,
    relationships: Annotated[
        bool, typer.Option("--relationships", help="The file holds joins between assets instead of entities.")
    ] = False,
    on_error: BadRows = OnError.STOP,
    dry_run: DryRun = False,
    rejects: RejectsFile = None,
    actor: Actor = None,
    data: Data = None,
) -> None:
    """Load entities or joins from a CSV file: a row states a whole one from an instant on. Safe to repeat."""
    _ingest(
        RelationshipFile if relationships else EntityFile,
        file,
        read_settings(data=data),
        rejects,
        actor,
        on_error=on_error,
        dry_run=dry_run,
    )


@ingest.command("jsonl")
def ingest_jsonl(
    file: File,
    on_error: BadRows = OnError.STOP,
    dry_run: DryRun = False,
    rejects: RejectsFile = None,
    actor: Actor = None,
    data: Data = None,
) -> None:
    """Load JSON lines: each states a whole product, entity, link, join or type, or ends one. In any order; safe to repeat."""
    _ingest(JsonLines, file, read_settings(data=data), rejects, actor, on_error=on_error, dry_run=dry_run)


@exports.command("jsonl")
def export_jsonl(
    file: Annotated[Path, typer.Argument(help="The file; - is standard output.", metavar="[FILE]")] = Path("-"),
    as_of: Annotated[
        str | None, typer.Option(help="An instant: what holds then. Without it, all that ever was.", metavar="INSTANT")
    ] = None,
    data: Data = None,
) -> None:
    """Write everything as JSON lines. Loaded into an empty database, they answer every question as of any instant alike."""
    settings = read_settings(data=data)
    instant = None if as_of is None else read_instant(as_of)
    with ExitStack() as stack:
        running = stack.enter_context(_database(settings))
        asyncio.run(_require_migrated(running))
        asyncio.run(_export(running, stack.enter_context(_written(file)), instant))


@app.command("schema")
def print_schema() -> None:
    """Print the GraphQL schema in SDL."""
    sys.stdout.write(graphql_schema.as_str() + "\n")


@contextmanager
def _database(settings: Settings) -> Iterator[Settings]:
    """The settings with an address in them: the one given, or that of the embedded server, which runs for as long."""
    if settings.database_url is not None:
        yield settings
        return
    with embedded.EmbeddedServer.start(settings.data) as server:
        server.ensure_database(DATABASE)
        yield settings.model_copy(update={"database_url": server.address(DATABASE)})


def _address(settings: Settings) -> str:
    assert settings.database_url is not None
    return settings.database_url


async def _load_mesh(settings: Settings) -> bool:
    database = Database(_address(settings))
    try:
        return await mesh.load(database)
    finally:
        await database.close()


async def _require_migrated(settings: Settings) -> None:
    applied, latest = await migrations.revision_of(_address(settings)), migrations.latest_revision()
    if applied != latest:
        raise Unavailable(f"The database is at revision {applied or 'none'}, this version needs {latest}. Run: headwater migrate")


async def _verify(settings: Settings) -> int:
    database = Database(_address(settings), statement_timeout=3600)
    differences = 0
    try:
        for tenant in await all_tenants(_address(settings)):
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


async def _purge(settings: Settings, tenant: str | None, *, dry_run: bool) -> int | None:
    purging = Purge(
        _address(settings),
        Author(_user(), str(uuid4()), "purge"),
        say=lambda line: out.print(line, markup=False, highlight=False, soft_wrap=True),
        progress=lambda total: Progress(err, total, of="changes"),
    )
    with _signals_given_to(purging.interrupt):
        await purging.run(tenant, dry_run=dry_run)
    return purging.interrupted


def _ingest(
    parser: type[CsvFile | JsonLines],
    file: Path,
    settings: Settings,
    rejects: Path | None,
    actor: str | None,
    *,
    on_error: OnError,
    dry_run: bool,
) -> None:
    author = Author(actor or _user(), str(uuid4()))
    opened = _opened(file)
    with ExitStack() as stack:
        named = None
        if rejects is not None:
            if rejects.exists() and file.exists() and rejects.samefile(file):
                raise BadInput(f"{rejects} is the file to load; name another one for the rejects.")
            with _blaming(rejects):
                named = stack.enter_context(rejects.open("w", encoding="utf-8", newline=""))
        running = stack.enter_context(_database(settings))
        asyncio.run(_require_migrated(running))
        load = asyncio.run(_load(running, opened, parser, author, named, on_error=on_error, dry_run=dry_run))
    if load.interrupted is not None:
        kept = "Nothing is kept." if dry_run else "What the summary counts is kept; running it again loads the rest."
        err.print(f"Interrupted. {kept}", soft_wrap=True)
        raise typer.Exit(128 + load.interrupted)
    if load.stopped:
        raise typer.Exit(1)


async def _load(
    settings: Settings,
    file: BinaryIO,
    parser: type[CsvFile | JsonLines],
    author: Author,
    named: TextIO | None,
    *,
    on_error: OnError,
    dry_run: bool,
) -> Load:
    # what is here stays: the collector need not go through it again for every few hundred rows
    gc.freeze()
    database = Database(_address(settings), pool_size=1, statement_timeout=600)
    started = time.monotonic()
    progress = Progress(err, _size(file))
    rejects = Rejects(progress, named, parser.part)
    load = Load(
        database,
        DEFAULT_TENANT_ID,
        author,
        advanced=progress.advance,
        rejected=rejects.add,
        on_error=on_error,
        dry_run=dry_run,
    )
    try:
        with progress, _signals_given_to(load.interrupt):
            await load.run(file, parser)
    finally:
        rejects.conclude()
        out.print(str(load.summary), highlight=False)
        trial = " Nothing of it is kept: this was a dry run." if dry_run else ""
        out.print(f"{load.summary.rows} rows in {time.monotonic() - started:.1f} s.{trial}", highlight=False)
        await database.close()
    return load


async def _export(settings: Settings, write: Callable[[bytes], None], as_of: datetime | None) -> None:
    database = Database(_address(settings), pool_size=1, statement_timeout=3600)
    count = 0
    try:
        with Progress(err, None) as progress:
            async with database.snapshot(DEFAULT_TENANT_ID) as connection:
                async for line in lines(connection, as_of):
                    write(line)
                    count += 1
                    if count % 1_000 == 0:
                        progress.advance(count, 0)
    finally:
        await database.close()
    err.print(f"{count} lines.", highlight=False)


@contextmanager
def _signals_given_to(receiver: Callable[[int], None]) -> Iterator[None]:
    """What usually ends a process on the spot is told to something that works in this loop."""
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    # what nohup has ignored stays ignored
    heard = [number for number, handler in before.items() if handler is not signal.SIG_IGN]

    def tell(number: int, _: FrameType | None) -> None:
        loop.call_soon_threadsafe(receiver, number)

    for number in heard:
        signal.signal(number, tell)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])


def _opened(file: Path) -> BinaryIO:
    """The file, which stays open: at the end of the process, a thread may still wait for more of it."""
    with _blaming(file):
        return open(0, "rb", closefd=False) if str(file) == "-" else file.open("rb")


@contextmanager
def _written(file: Path) -> Iterator[Callable[[bytes], None]]:
    """Writes the file, which is there once it is whole."""
    to_output = str(file) == "-"
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    with _blaming(file):
        opened = open(1, "wb", closefd=False) if to_output else unfinished.open("xb")  # noqa: SIM115

    def write(line: bytes) -> None:
        with _blaming(file):
            opened.write(line)

    try:
        yield write
        with _blaming(file):
            opened.close()
            if not to_output:
                unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


def _size(file: BinaryIO) -> int | None:
    status = os.fstat(file.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadInput(f"{path} cannot be used: {error.strerror}.") from error


def _user() -> str:
    """Who runs this, if this machine has a name for them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "ingest"


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

"""`headwater ingest`: files in."""

import asyncio
import gc
import os
import stat
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated, BinaryIO, TextIO

import typer

from db.author import Author
from db.database import Database
from db.errors import BadInput
from graph_api.commands import (
    DEFAULT_TENANT,
    Data,
    InTenant,
    address_of,
    author_of,
    blaming,
    err,
    on_database,
    out,
    require_migrated,
    tenant_named,
)
from graph_api.commands.signals import signals_given_to
from graph_api.ingestion.csv import CsvFile
from graph_api.ingestion.entity_csv import EntityFile
from graph_api.ingestion.jsonl import JsonLines
from graph_api.ingestion.loading import Load, OnError
from graph_api.ingestion.progress import Progress, Rejects
from graph_api.ingestion.relationship_csv import RelationshipFile
from graph_api.settings import Settings, read_settings

ingest = typer.Typer(no_args_is_help=True, help="Load what other tools know, from files.")

File = Annotated[Path, typer.Argument(help="The file; - is standard input.", metavar="FILE")]
BadRows = Annotated[OnError, typer.Option(help="What a bad row does: end the load, or stay behind.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check and count everything, keep nothing. One transaction holds its locks meanwhile.")
]
RejectsFile = Annotated[Path | None, typer.Option(help="A CSV file to name every refused row in.", metavar="FILE")]
Actor = Annotated[str | None, typer.Option(help="Who loads, as the log has it. The user of this machine by default.")]


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
    tenant: InTenant = DEFAULT_TENANT,
    data: Data = None,
) -> None:
    """Load entities or joins from a CSV file: a row states a whole one from an instant on. Safe to repeat."""
    _ingest(
        RelationshipFile if relationships else EntityFile,
        file,
        read_settings(data=data),
        rejects,
        actor,
        tenant,
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
    tenant: InTenant = DEFAULT_TENANT,
    data: Data = None,
) -> None:
    """Load JSON lines: each states a whole product, entity, link, join or type, or ends one. In any order; safe to repeat."""
    _ingest(JsonLines, file, read_settings(data=data), rejects, actor, tenant, on_error=on_error, dry_run=dry_run)


def _ingest(
    parser: type[CsvFile | JsonLines],
    file: Path,
    settings: Settings,
    rejects: Path | None,
    actor: str | None,
    tenant: str,
    *,
    on_error: OnError,
    dry_run: bool,
) -> None:
    author = author_of("ingest")
    if actor is not None:
        author = replace(author, actor=actor)
    opened = _opened(file)
    with ExitStack() as stack:
        named = None
        if rejects is not None:
            if rejects.exists() and file.exists() and rejects.samefile(file):
                raise BadInput(f"{rejects} is the file to load; name another one for the rejects.")
            with blaming(rejects):
                named = stack.enter_context(rejects.open("w", encoding="utf-8", newline=""))
        running = stack.enter_context(on_database(settings))
        asyncio.run(require_migrated(running))
        load = asyncio.run(_load(running, opened, parser, author, tenant, named, on_error=on_error, dry_run=dry_run))
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
    tenant: str,
    named: TextIO | None,
    *,
    on_error: OnError,
    dry_run: bool,
) -> Load:
    # what is here stays: the collector need not go through it again for every few hundred rows
    gc.freeze()
    database = Database(address_of(settings), pool_size=1, statement_timeout=600)
    try:
        tenant_id = await tenant_named(database, tenant)
    except BaseException:
        await database.close()
        raise
    started = time.monotonic()
    progress = Progress(err, _size(file))
    rejects = Rejects(progress, named, parser.part)
    load = Load(
        database,
        tenant_id,
        author,
        advanced=progress.advance,
        rejected=rejects.add,
        on_error=on_error,
        dry_run=dry_run,
    )
    try:
        with progress, signals_given_to(load.interrupt):
            await load.run(file, parser)
    finally:
        rejects.conclude()
        out.print(str(load.summary), highlight=False)
        trial = " Nothing of it is kept: this was a dry run." if dry_run else ""
        out.print(f"{load.summary.rows} rows in {time.monotonic() - started:.1f} s.{trial}", highlight=False)
        await database.close()
    return load


def _opened(file: Path) -> BinaryIO:
    """The file, which stays open: at the end of the process, a thread may still wait for more of it."""
    with blaming(file):
        return open(0, "rb", closefd=False) if str(file) == "-" else file.open("rb")


def _size(file: BinaryIO) -> int | None:
    status = os.fstat(file.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None

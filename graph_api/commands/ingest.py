"""`headwater ingest`: files, loaded into a tenant."""

import asyncio
import gc
import os
import stat
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, TextIO

import click
from rich.console import Console

from db.author import Author
from db.errors import BadInput
from db.tenancy.tenant import only_tenant_of
from graph_api.command_settings import CommandSettings
from graph_api.commands.author import author_of
from graph_api.commands.database import migrated_database_of, open_database, tenant_named
from graph_api.commands.output import naming_file
from graph_api.commands.signals import forwarding_signals
from graph_api.ingestion.csv import CsvFile
from graph_api.ingestion.entity_csv import EntityFile
from graph_api.ingestion.jsonl import JsonLines
from graph_api.ingestion.loading import Load
from graph_api.ingestion.on_error import OnError
from graph_api.ingestion.progress import Progress, Rejects
from graph_api.ingestion.relationship_csv import RelationshipFile
from graph_api.records.grants import GrantedServices

# Seconds one statement may take.
STATEMENT_TIMEOUT = 600


@dataclass(frozen=True, slots=True)
class _Options:
    """Options that all formats share."""

    on_error: OnError
    dry_run: bool
    tenant: str
    author: Author


def ingest_csv(
    file: Path,
    relationships: bool,
    on_error: str,
    dry_run: bool,
    rejects: Path | None,
    actor: str | None,
    tenant: str,
    data: Path | None,
) -> int:
    parser = RelationshipFile if relationships else EntityFile
    return _ingest(parser, file, rejects, data, _Options(OnError(on_error), dry_run, tenant, _author(actor)))


def ingest_jsonl(
    file: Path, on_error: str, dry_run: bool, rejects: Path | None, actor: str | None, tenant: str, data: Path | None
) -> int:
    return _ingest(JsonLines, file, rejects, data, _Options(OnError(on_error), dry_run, tenant, _author(actor)))


def _author(actor: str | None) -> Author:
    author = author_of("ingest")
    return author if actor is None else replace(author, actor=actor)


def _ingest(parser: type[CsvFile | JsonLines], file: Path, rejects: Path | None, data: Path | None, options: _Options) -> int:
    """Load the file, and return the exit code."""
    opened = _open(file)
    with ExitStack() as stack:
        # A pipe stays open until the process ends: a thread may still wait for more of it.
        if _size(opened) is not None:
            stack.enter_context(opened)
        if rejects is not None and rejects.exists() and file.exists() and rejects.samefile(file):
            raise BadInput(f"--rejects {rejects} is the file to load. Name another file.")
        # an invalid setting leaves the rejects of an earlier load as they are
        settings = stack.enter_context(migrated_database_of(data))
        rejects_file = None
        if rejects is not None:
            with naming_file(rejects):
                rejects_file = stack.enter_context(rejects.open("w", encoding="utf-8", newline=""))
        load = asyncio.run(_load(settings, opened, parser, rejects_file, options))
    if load.interrupted is not None:
        kept = "Nothing is kept." if options.dry_run else "What the summary counts is kept; run it again to load the rest."
        click.echo(f"Interrupted. {kept}", err=True)
        return 128 + load.interrupted
    return 1 if load.failed else 0


async def _load(
    settings: CommandSettings,
    file: BinaryIO,
    parser: type[CsvFile | JsonLines],
    rejects_file: TextIO | None,
    options: _Options,
) -> Load:
    # Objects that exist now live as long as the load: the collector need not visit them every few hundred rows.
    gc.freeze()
    async with open_database(settings, statement_timeout=STATEMENT_TIMEOUT) as database:
        tenant_id = await tenant_named(database, options.tenant)
        started = time.monotonic()
        progress = Progress(Console(stderr=True), _size(file))
        rejects = Rejects(progress, rejects_file, parser.part)
        load = Load(
            database,
            tenant_id,
            options.author,
            advanced=progress.advance,
            rejected=rejects.add,
            on_error=options.on_error,
            dry_run=options.dry_run,
            grants=await GrantedServices(settings.services, partial(only_tenant_of, database))(options.tenant),
        )
        try:
            with progress, forwarding_signals(load.interrupt):
                await load.run(file, parser)
        finally:
            rejects.conclude()
            click.echo(load.summary)
            discarded = " Nothing is kept: this was a dry run." if options.dry_run else ""
            click.echo(f"{load.summary.rows} rows in {time.monotonic() - started:.1f} s.{discarded}")
    return load


def _open(file: Path) -> BinaryIO:
    """Open the file, or standard input."""
    with naming_file(file):
        return open(0, "rb", closefd=False) if str(file) == "-" else file.open("rb")


def _size(file: BinaryIO) -> int | None:
    """Return the size of a regular file, and None for a pipe or device."""
    status = os.fstat(file.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None

"""`headwater export`: everything that is known, as files."""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import click
from rich.console import Console

from db.instants import read_instant
from graph_api.command_settings import CommandSettings
from graph_api.commands.database import migrated_database_of, open_database, tenant_named
from graph_api.commands.output import naming_file
from graph_api.ingestion.jsonl_writer import lines
from graph_api.ingestion.progress import Progress

# Seconds one statement may take: it reads all that a tenant has.
STATEMENT_TIMEOUT = 3600
# Lines between two reports of progress.
REPORTED = 1_000


def export_jsonl(file: Path, as_of: str | None, tenant: str, data: Path | None) -> None:
    instant = None if as_of is None else read_instant(as_of)
    with migrated_database_of(data) as settings, _writing(file) as write:
        asyncio.run(_export(settings, tenant, write, instant))


async def _export(settings: CommandSettings, tenant: str, write: Callable[[bytes], None], as_of: datetime | None) -> None:
    count = 0
    async with open_database(settings, statement_timeout=STATEMENT_TIMEOUT) as database:
        tenant_id = await tenant_named(database, tenant)
        with Progress(Console(stderr=True), None) as progress:
            async with database.snapshot(tenant_id) as connection:
                async for line in lines(connection, as_of):
                    write(line)
                    count += 1
                    if count % REPORTED == 0:
                        progress.advance(count, 0)
    click.echo(f"{count} lines.", err=True)


@contextmanager
def _writing(file: Path) -> Iterator[Callable[[bytes], None]]:
    """Yield a function that writes to the file. The file appears under its name once it is complete."""
    to_output = str(file) == "-"
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    with naming_file(file):
        output = open(1, "wb", closefd=False) if to_output else unfinished.open("xb")  # noqa: SIM115

    def write(line: bytes) -> None:
        with naming_file(file):
            output.write(line)

    try:
        yield write
        with naming_file(file):
            output.close()
            if not to_output:
                unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)

"""`headwater export`: files out."""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from db.database import Database
from db.instants import read_instant
from graph_api.commands import (
    DEFAULT_TENANT,
    Data,
    InTenant,
    address_of,
    blaming,
    err,
    on_database,
    require_migrated,
    tenant_named,
)
from graph_api.ingestion.jsonl_writer import lines
from graph_api.ingestion.progress import Progress
from graph_api.settings import Settings, read_settings

exports = typer.Typer(no_args_is_help=True, help="Write what is known to files, for other tools and for this one.")


@exports.command("jsonl")
def export_jsonl(
    file: Annotated[Path, typer.Argument(help="The file; - is standard output.", metavar="[FILE]")] = Path("-"),
    as_of: Annotated[
        str | None, typer.Option(help="An instant: what holds then. Without it, all that ever was.", metavar="INSTANT")
    ] = None,
    tenant: InTenant = DEFAULT_TENANT,
    data: Data = None,
) -> None:
    """Write everything as JSON lines. Loaded into an empty database, they answer every question as of any instant alike."""
    settings = read_settings(data=data)
    instant = None if as_of is None else read_instant(as_of)
    with ExitStack() as stack:
        running = stack.enter_context(on_database(settings))
        asyncio.run(require_migrated(running))
        asyncio.run(_export(running, tenant, stack.enter_context(_written(file)), instant))


async def _export(settings: Settings, tenant: str, write: Callable[[bytes], None], as_of: datetime | None) -> None:
    database = Database(address_of(settings), pool_size=1, statement_timeout=3600)
    count = 0
    try:
        tenant_id = await tenant_named(database, tenant)
        with Progress(err, None) as progress:
            async with database.snapshot(tenant_id) as connection:
                async for line in lines(connection, as_of):
                    write(line)
                    count += 1
                    if count % 1_000 == 0:
                        progress.advance(count, 0)
    finally:
        await database.close()
    err.print(f"{count} lines.", highlight=False)


@contextmanager
def _written(file: Path) -> Iterator[Callable[[bytes], None]]:
    """Writes the file, which is there once it is whole."""
    to_output = str(file) == "-"
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    with blaming(file):
        opened = open(1, "wb", closefd=False) if to_output else unfinished.open("xb")  # noqa: SIM115

    def write(line: bytes) -> None:
        with blaming(file):
            opened.write(line)

    try:
        yield write
        with blaming(file):
            opened.close()
            if not to_output:
                unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)

"""`headwater purge`: what was deleted long ago, gone for good."""

import asyncio
from typing import Annotated

import typer

from graph_api.commands import Data, address_of, author_of, err, on_database, out, require_migrated
from graph_api.commands.signals import signals_given_to
from graph_api.ingestion.progress import Progress
from graph_api.purge import Purge
from graph_api.settings import Settings, read_settings


def purge(
    tenant: Annotated[str | None, typer.Option(help="The tenant. All of them by default.", metavar="NAME")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would be removed, and remove nothing.")] = False,
    data: Data = None,
) -> None:
    """Remove for good what was deleted longer ago than its tenant keeps it. Says how much that was; safe to repeat."""
    with on_database(read_settings(data=data)) as running:
        asyncio.run(require_migrated(running))
        interrupted = asyncio.run(_purge(running, tenant, dry_run=dry_run))
    if interrupted is not None:
        err.print("Interrupted. What is counted is gone for good; running it again removes the rest.", soft_wrap=True)
        raise typer.Exit(128 + interrupted)


async def _purge(settings: Settings, tenant: str | None, *, dry_run: bool) -> int | None:
    purging = Purge(
        address_of(settings),
        author_of("purge"),
        say=lambda line: out.print(line, markup=False, highlight=False, soft_wrap=True),
        progress=lambda total: Progress(err, total, of="changes"),
    )
    with signals_given_to(purging.interrupt):
        await purging.run(tenant, dry_run=dry_run)
    return purging.interrupted

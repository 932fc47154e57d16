"""`headwater demo`: the demo data, served on this machine without credentials."""

import asyncio
from pathlib import Path

import click

from db import migrations
from graph_api import asgi
from graph_api import demo as demo_data
from graph_api.commands.database import address_of, open_database, running_database
from graph_api.graphiql.examples import EXAMPLES
from graph_api.http.loopback import require_loopback
from graph_api.settings import Settings, read_settings


def demo(host: str | None, port: int | None, data: Path | None) -> None:
    settings = read_settings(host=host, port=port, data=data)
    require_loopback(settings.host)
    with running_database(settings) as running:
        migrations.upgrade_now(address_of(running))
        loaded = asyncio.run(_load(running))
        click.echo("Loaded the demo data." if loaded else "Kept the data of the last run.")
        # Workers are separate processes and always require credentials: only one process can serve without.
        asgi.serve(running.model_copy(update={"workers": 1}), _introduce, require_auth=False)


async def _load(settings: Settings) -> bool:
    async with open_database(settings) as database:
        return await demo_data.load(database)


def _introduce(address: str) -> None:
    """Print the address, and two queries to begin with."""
    click.echo(f"\nHeadwater is at {click.style(address, bold=True)}. Open it in a browser; Ctrl-C stops it.\n")
    for example in EXAMPLES[:2]:
        click.echo(f"# {example.name}\n{example.query}")

"""`headwater migrate`: the database at the schema of this version."""

from pathlib import Path

import click

from db import migrations
from graph_api.command_settings import CommandSettings, read_settings_of
from graph_api.commands.database import address_of, running_database


def migrate(data: Path | None) -> None:
    with running_database(read_settings_of(CommandSettings, data=data)) as settings:
        before, after = migrations.upgrade_now(address_of(settings))
    click.echo(f"The database is at revision {after}." if before == after else f"Migrated from {before or 'nothing'} to {after}.")

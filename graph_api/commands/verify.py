"""`headwater verify`: every stored version compared with the fold of the change log."""

import asyncio
from pathlib import Path

import click

from db.temporal.verification import verify_tenant
from db.tenancy.tenant import all_tenants
from graph_api.command_settings import CommandSettings
from graph_api.commands.database import address_of, migrated_database_of, open_database

# Seconds one statement may take: it reads all versions of a tenant.
STATEMENT_TIMEOUT = 3600


def verify(data: Path | None) -> int:
    with migrated_database_of(data) as settings:
        return 1 if asyncio.run(_verify(settings)) else 0


async def _verify(settings: CommandSettings) -> int:
    """Print the differences of every tenant, and return their number."""
    differences = 0
    async with open_database(settings, statement_timeout=STATEMENT_TIMEOUT) as database:
        for tenant in await all_tenants(address_of(settings)):
            async with database.snapshot(tenant.tenant_id) as connection:
                report = await verify_tenant(connection)
            for difference in report.differences:
                click.echo(f"{tenant.name}: {difference}")
            differences += len(report.differences)
            click.echo(
                f"{tenant.name}: {report.changes} changes, {report.versions} versions, {len(report.differences)} differences"
            )
    return differences

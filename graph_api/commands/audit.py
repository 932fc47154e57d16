"""`headwater audit`: the audit log of a tenant."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from db.instants import write_instant
from db.tenancy import audit
from db.tenancy.audit import AuditRow
from graph_api.command_settings import CommandSettings
from graph_api.commands.database import migrated_database_of, open_database, tenant_named
from graph_api.commands.output import print_table


def show_audit(count: int, tenant: str, data: Path | None) -> None:
    with migrated_database_of(data) as settings:
        _print(asyncio.run(_latest(settings, tenant, count)))


async def _latest(settings: CommandSettings, tenant: str, count: int) -> Sequence[AuditRow]:
    async with (
        open_database(settings) as database,
        database.snapshot(await tenant_named(database, tenant)) as connection,
    ):
        return await audit.latest(connection, count)


def _print(entries: Sequence[AuditRow]) -> None:
    rows = []
    for entry in entries:
        credential = f"{entry.credential} (operator)" if entry.operator else entry.credential
        rows.append([write_instant(entry.at), entry.actor, credential, entry.operation, entry.outcome, entry.request_id or ""])
    print_table(["at", "actor", "credential", "operation", "outcome", "request"], rows)

"""`headwater audit`: who did what."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer

from db.database import Database
from db.instants import write_instant
from db.tenancy import audit
from db.tenancy.audit import AuditRow
from graph_api.commands import DEFAULT_TENANT, Data, InTenant, address_of, on_database, require_migrated, show, tenant_named
from graph_api.settings import Settings, read_settings


def show_audit(
    count: Annotated[int, typer.Option(min=1, max=10_000, help="How many to name.")] = 50,
    tenant: InTenant = DEFAULT_TENANT,
    data: Data = None,
) -> None:
    """Name what was done in a tenant, the latest first: by whom, with which credential, and what came of it."""
    with on_database(read_settings(data=data)) as running:
        asyncio.run(require_migrated(running))
        _show(asyncio.run(_latest(running, tenant, count)))


async def _latest(settings: Settings, tenant: str, count: int) -> Sequence[AuditRow]:
    database = Database(address_of(settings), pool_size=1)
    try:
        async with database.snapshot(await tenant_named(database, tenant)) as connection:
            return await audit.latest(connection, count)
    finally:
        await database.close()


def _show(found: Sequence[AuditRow]) -> None:
    rows = []
    for it in found:
        credential = f"{it.credential} (operator)" if it.operator else it.credential
        rows.append([write_instant(it.at), it.actor, credential, it.operation, it.outcome, it.request_id or ""])
    show(["at", "actor", "credential", "operation", "outcome", "request"], rows)

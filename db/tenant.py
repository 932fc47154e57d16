"""Tenants: each sees only its own."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from db.connection import driver_address, translated_errors
from db.errors import Unavailable
from db.tables import tenant as tenants


@dataclass(frozen=True, slots=True)
class Tenant:
    tenant_id: int
    name: str


async def all_tenants(address: str) -> list[Tenant]:
    """Every tenant. The service's role sees only one at a time, so the owner asks."""
    engine = create_async_engine(driver_address(address), poolclass=NullPool)
    try:
        with translated_errors():
            async with engine.connect() as connection:
                rows = await connection.execute(select(tenants).order_by(tenants.c.tenant_id))
                found = [Tenant(row.tenant_id, row.name) for row in rows]
    finally:
        await engine.dispose()
    if not found:
        raise Unavailable("This database user sees no tenant. Use the one that owns the tables, who sees them all.")
    return found

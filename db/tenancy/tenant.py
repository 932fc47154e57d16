"""Tenants: each sees only its own. Whoever owns the schema sees them all, and says what they may."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert

from db import fields
from db.author import Author
from db.connection import ReadConnection
from db.database import owner_transaction
from db.errors import Conflict, NotFound, Unavailable
from db.tables import quota
from db.tables import tenant as tenants
from db.temporal.kinds import ENTITY, LINK, PRODUCT
from db.tenancy.audit import record_owner_write

# What a tenant may have only so many of.
LIMITED = {kind.plural: kind.name for kind in (PRODUCT, ENTITY, LINK)}

_NAMED = text("SELECT tenant_named(CAST(:name AS text)) AS tenant_id")
_STANDING = select(tenants.c.name, tenants.c.suspended_because)


@dataclass(frozen=True, slots=True)
class Quota:
    """How many of a kind there are, and how many there may be; None: any number."""

    used: int = 0
    allowed: int | None = None


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant, as whoever owns the schema sees it."""

    tenant_id: int
    name: str
    suspended_because: str | None
    retention_days: int | None
    quotas: Mapping[str, Quota]


@dataclass(frozen=True, slots=True)
class TenantStatus:
    """What is to be known of a tenant before anybody is let into it."""

    tenant_id: int
    name: str
    suspended_because: str | None


async def tenant_id_of(connection: ReadConnection, name: str) -> int | None:
    """Which tenant bears a name. It may be asked from any tenant."""
    row = await connection.fetch_one(_NAMED, {"name": fields.storable(name)})
    return row.tenant_id if row is not None else None


async def standing(connection: ReadConnection) -> TenantStatus | None:
    """How the tenant of this connection stands, if there is such a one."""
    row = await connection.fetch_one(_STANDING.where(tenants.c.tenant_id == connection.tenant_id))
    return None if row is None else TenantStatus(connection.tenant_id, row.name, row.suspended_because)


async def quotas(connection: ReadConnection) -> dict[str, Quota]:
    """How much of what a tenant has and may have."""
    rows = await connection.fetch(
        select(quota.c.kind, quota.c.used, quota.c.allowed).where(quota.c.tenant_id == connection.tenant_id)
    )
    return _quotas(rows)


async def all_tenants(address: str) -> list[Tenant]:
    """Every tenant, by its age."""
    async with owner_transaction(address) as connection:
        rows = (await connection.execute(select(tenants).order_by(tenants.c.tenant_id))).all()
        kept = (await connection.execute(select(quota))).all()
    if not rows:
        raise Unavailable("This database user sees no tenant. Use the one that owns the tables, who sees them all.")
    return [
        Tenant(
            row.tenant_id,
            row.name,
            row.suspended_because,
            row.retention_days,
            _quotas([it for it in kept if it.tenant_id == row.tenant_id]),
        )
        for row in rows
    ]


async def create(address: str, name: str, author: Author) -> int:
    """Make a tenant."""
    given = fields.line("name", name)
    async with owner_transaction(address) as connection:
        adding = insert(tenants).values(name=given).on_conflict_do_nothing().returning(tenants.c.tenant_id)
        tenant_id: int | None = await connection.scalar(adding)
        if tenant_id is None:
            raise Conflict(f"There is a tenant called {given!r} already.", field="name")
        await record_owner_write(connection, tenant_id, author)
    return tenant_id


async def change(
    address: str,
    name: str,
    author: Author,
    *,
    settings: Mapping[str, Any] | None = None,
    allowed: Mapping[str, int | None] | None = None,
) -> None:
    """Change what is set of a tenant: `suspended_because`, `retention_days`, and how many of a kind it may have. What it has
    already it keeps."""
    async with owner_transaction(address) as connection:
        # (who writes in the tenant need not wait)
        named = select(tenants.c.tenant_id).where(tenants.c.name == name).with_for_update(key_share=True)
        found: int | None = await connection.scalar(named)
        if found is None:
            known = (await connection.scalars(select(tenants.c.name).order_by(tenants.c.tenant_id).limit(10))).all()
            raise NotFound(f"There is no tenant called {name!r}. There are: {', '.join(known)}.", field="tenant")
        if settings:
            await connection.execute(update(tenants).where(tenants.c.tenant_id == found).values(settings))
        # in the order of conclude.sql, so that no writer waits for us while we wait for it
        for kind, count in sorted((LIMITED[limited], count) for limited, count in (allowed or {}).items()):
            saying = insert(quota).values(tenant_id=found, kind=kind, allowed=count)
            await connection.execute(
                saying.on_conflict_do_update(index_elements=[quota.c.tenant_id, quota.c.kind], set_={"allowed": count})
            )
        await record_owner_write(connection, found, author)


def _quotas(rows: Any) -> dict[str, Quota]:
    found = {row.kind: Quota(row.used, row.allowed) for row in rows}
    return {name: found.get(kind, Quota()) for name, kind in LIMITED.items()}

"""Tenants, their settings and their quotas. The service sees one tenant at a time, the schema owner sees all."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Text, bindparam, select, update
from sqlalchemy.dialects.postgresql import insert

from db import fields
from db.author import Author
from db.connection import ReadConnection
from db.database import Database, owner_transaction
from db.errors import Conflict, NotFound, Unavailable
from db.filters import TENANT
from db.rows import Row
from db.sql import compose, text
from db.tables import quota
from db.tables import tenant as tenants
from db.temporal.kinds import ENTITY, LINK, PRODUCT
from db.tenancy.audit import record_owner_write
from db.tenant_ids import NO_TENANT_ID

# Names of the kinds that a quota limits, by their plural.
LIMITED = {kind.plural: kind.name for kind in (PRODUCT, ENTITY, LINK)}

_TENANT_ID = text("SELECT tenant_named(CAST(:name AS text)) AS tenant_id")
_ONLY_TENANT = text("SELECT only_tenant() AS name")
_STATUS = compose(select(tenants.c.name, tenants.c.suspended_because).where(tenants.c.tenant_id == TENANT))
_QUOTAS = compose(select(quota.c.kind, quota.c.used, quota.c.allowed).where(quota.c.tenant_id == TENANT))
_ALL = compose(select(tenants).order_by(tenants.c.tenant_id))
_ALL_QUOTAS = compose(select(quota))
_CREATE = compose(
    insert(tenants).values(name=bindparam("name", type_=Text)).on_conflict_do_nothing().returning(tenants.c.tenant_id)
)
# FOR NO KEY UPDATE: writers in the tenant, whose rows refer to it, do not wait.
_LOCK = compose(
    select(tenants.c.tenant_id).where(tenants.c.name == bindparam("name", type_=Text)).with_for_update(key_share=True)
)
_FIRST_NAMES = compose(select(tenants.c.name).order_by(tenants.c.tenant_id).limit(bindparam("limit", 10, type_=BigInteger)))
_CHANGE = {
    name: compose(update(tenants).where(tenants.c.tenant_id == TENANT).values({name: bindparam(name)}))
    for name in ("suspended_because", "retention_days")
}
_INSERT_QUOTA = insert(quota).values(tenant_id=TENANT, kind=bindparam("kind"), allowed=bindparam("allowed"))
_ALLOW = compose(
    _INSERT_QUOTA.on_conflict_do_update(
        index_elements=[quota.c.tenant_id, quota.c.kind], set_={"allowed": _INSERT_QUOTA.excluded.allowed}
    )
)


@dataclass(frozen=True, slots=True)
class Quota:
    """Number of subjects of a kind that a tenant has, and that it may have; None: unlimited."""

    used: int = 0
    allowed: int | None = None


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant with its settings and quotas."""

    tenant_id: int
    name: str
    suspended_because: str | None
    retention_days: int | None
    quotas: Mapping[str, Quota]


@dataclass(frozen=True, slots=True)
class TenantStatus:
    """The attributes of a tenant that authentication needs."""

    tenant_id: int
    name: str
    suspended_because: str | None


async def tenant_id_of(connection: ReadConnection, name: str) -> int | None:
    """Look up the id of a tenant by its name. Works on the connection of any tenant."""
    row = await connection.fetch_one(_TENANT_ID, {"name": fields.storable(name)})
    return row.tenant_id if row is not None else None


async def only_tenant_of(database: Database) -> str | None:
    """Return the name of the tenant of a database that has only one, or None if it has several."""
    async with database.snapshot(NO_TENANT_ID) as connection:
        row = await connection.fetch_one(_ONLY_TENANT)
    return row.name if row is not None else None


async def tenant_status(connection: ReadConnection) -> TenantStatus | None:
    """Return the status of the connection's tenant, or None if it does not exist."""
    row = await connection.fetch_one(_STATUS)
    return None if row is None else TenantStatus(connection.tenant_id, row.name, row.suspended_because)


async def quotas(connection: ReadConnection) -> dict[str, Quota]:
    """Return the quotas of the connection's tenant, by the plural of the kind."""
    return _quotas(await connection.fetch(_QUOTAS))


async def all_tenants(address: str) -> list[Tenant]:
    """List every tenant, by age."""
    async with owner_transaction(address) as connection:
        rows = await connection.fetch(_ALL)
        quota_rows = await connection.fetch(_ALL_QUOTAS)
    if not rows:
        raise Unavailable("This database user sees no tenant. Use the user that owns the tables.")
    return [
        Tenant(
            row.tenant_id,
            row.name,
            row.suspended_because,
            row.retention_days,
            _quotas(it for it in quota_rows if it.tenant_id == row.tenant_id),
        )
        for row in rows
    ]


async def create(address: str, name: str, author: Author) -> int:
    """Create a tenant and return its id."""
    valid_name = fields.line("name", name)
    async with owner_transaction(address) as connection:
        created = await connection.fetch_one(_CREATE, {"name": valid_name})
        if created is None:
            raise Conflict(f"A tenant called {valid_name!r} exists already. Choose another name.", field="name")
        tenant_id: int = created.tenant_id
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
    """Change settings (`suspended_because`, `retention_days`) and quotas of a tenant. A quota below what it has removes
    nothing."""
    async with owner_transaction(address) as connection:
        locked = await connection.fetch_one(_LOCK, {"name": name})
        if locked is None:
            names = [row.name for row in await connection.fetch(_FIRST_NAMES)]
            raise NotFound(f"There is no tenant called {name!r}. There are: {', '.join(names)}.", field="tenant")
        tenant_id: int = locked.tenant_id
        for setting, value in (settings or {}).items():
            await connection.execute(_CHANGE[setting], {"tenant": tenant_id, setting: value})
        # In order of kind, as write_audit_and_quota.sql locks them, so that a writer and this cannot deadlock.
        for kind, count in sorted((LIMITED[plural], count) for plural, count in (allowed or {}).items()):
            await connection.execute(_ALLOW, {"tenant": tenant_id, "kind": kind, "allowed": count})
        await record_owner_write(connection, tenant_id, author)


def _quotas(rows: Iterable[Row]) -> dict[str, Quota]:
    by_kind = {row.kind: Quota(row.used, row.allowed) for row in rows}
    return {plural: by_kind.get(kind, Quota()) for plural, kind in LIMITED.items()}

"""The audit log: who wrote, with which credential, what, and with which outcome."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import BigInteger, bindparam, select

from db.audit_entry import COMMITTED, WRITE_AUDIT_AND_QUOTA, audit_and_quota_parameters
from db.author import Author
from db.connection import OwnerConnection, ReadConnection
from db.filters import TENANT
from db.sql import compose
from db.tables import audit


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One entry of the audit log."""

    at: datetime
    actor: str
    credential: str
    operator: bool
    operation: str
    outcome: str
    request_id: str | None


_LATEST = compose(
    select(*(audit.c[field.name] for field in fields(AuditRow)))
    .where(audit.c.tenant_id == TENANT)
    .order_by(audit.c.id.desc())
    .limit(bindparam("limit", type_=BigInteger))
)


async def record_owner_write(connection: OwnerConnection, tenant_id: int, author: Author) -> None:
    """Append the entry of a write by the schema owner to the audit log of a tenant."""
    await connection.execute(WRITE_AUDIT_AND_QUOTA, {"tenant": tenant_id, **audit_and_quota_parameters(author, COMMITTED)})


async def latest(connection: ReadConnection, count: int) -> Sequence[AuditRow]:
    """Return the latest entries, newest first."""
    return [AuditRow(**row) for row in await connection.fetch(_LATEST, {"limit": count})]

"""The audit: who wrote, by which credential, what, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.connection import COMMITTED, Author, ReadConnection
from db.tables import audit


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One thing that somebody did."""

    at: datetime
    actor: str
    credential: str
    operator: bool
    operation: str
    outcome: str
    request_id: str | None


async def tell(connection: AsyncConnection, tenant_id: int, author: Author) -> None:
    """Tell the audit of a tenant what its owner did."""
    await connection.execute(
        insert(audit).values(
            tenant_id=tenant_id,
            at=func.clock_timestamp(),
            actor=author.actor,
            credential=author.credential,
            operator=author.operator,
            operation=author.operation,
            outcome=COMMITTED,
            request_id=author.request_id,
        )
    )


async def latest(connection: ReadConnection, count: int) -> Sequence[AuditRow]:
    """What was done last, the latest first."""
    columns = [audit.c[it.name] for it in fields(AuditRow)]
    of_tenant = select(*columns).where(audit.c.tenant_id == connection.tenant_id)
    rows = await connection.fetch(of_tenant.order_by(audit.c.id.desc()).limit(count))
    return [AuditRow(**row._mapping) for row in rows]

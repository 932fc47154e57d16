"""Domains in which an author may write."""

from collections.abc import Sequence
from datetime import datetime

from db.connection import WriteConnection
from db.errors import Forbidden
from db.temporal.kind import Kind


async def require_domains(
    connection: WriteConnection, kind: Kind, subjects: Sequence[int], instants: Sequence[datetime | None]
) -> None:
    """Raise Forbidden unless each subject is within the author's domains from its instant on. Called before and after a write, so
    that nothing is moved out of another domain or into one."""
    domains = connection.author.domains
    if domains is None or not subjects:
        return
    parameters = {"subjects": subjects, "instants": instants, "domains": sorted(domains)}
    violation = await connection.fetch_one(kind.statement("temporal/domain_violations"), parameters)
    if violation is not None:
        where = f"in the domain {violation.domain}" if violation.domain is not None else "in no domain"
        allowed = ", ".join(sorted(domains))
        raise Forbidden(
            f"The {violation.kind.lower()} {violation.uid} is {where}, but these credentials may write in {allowed} only.",
            blind=f"A subject of this write is in another domain. These credentials may write in {allowed} only.",
        )

"""Where an author may write: anywhere, or in some domains."""

from collections.abc import Sequence
from datetime import datetime

from db.connection import WriteConnection
from db.errors import Forbidden
from db.kind import Kind


async def require_domains(
    connection: WriteConnection, kind: Kind, subjects: Sequence[int], instants: Sequence[datetime | None]
) -> None:
    """Refuse what is said of subjects from instants on, unless it is within the author's domains then and ever after. Asked
    before and after it is written, so that nothing is taken out of another domain, or put there."""
    domains = connection.author.domains
    if domains is None or not subjects:
        return
    asked = {"subjects": subjects, "instants": instants, "domains": sorted(domains)}
    outside = await connection.fetch_one(kind.statement("outside_domains"), asked)
    if outside is not None:
        place = f"in the domain {outside.domain}" if outside.domain is not None else "in no domain"
        allowed = ", ".join(sorted(domains))
        raise Forbidden(f"The {outside.kind.lower()} {outside.uid} is {place}, and these credentials write in {allowed} only.")

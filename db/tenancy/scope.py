"""What a credential may do, and where its bearer may write: anywhere, or in some domains."""

from collections.abc import Sequence
from datetime import datetime

from db import fields
from db.connection import WriteConnection
from db.errors import BadInput, Forbidden
from db.temporal.kind import Kind

READ, WRITE, ADMIN = "read", "write", "admin"
SCOPES = (READ, WRITE, ADMIN)

# What stands before the name of a domain.
WRITE_IN = f"{WRITE}:"


def validate_scopes(scopes: Sequence[str]) -> list[str]:
    """Scopes that a credential may be given, each once."""
    if not scopes:
        raise BadInput("A key is for something: give it a scope.", field="scopes")
    for it in scopes:
        if it.startswith(WRITE_IN):
            fields.line("scopes", it.removeprefix(WRITE_IN))
        elif it not in SCOPES:
            raise BadInput(
                f"There is no scope {it[:50]!r}. There are {', '.join(SCOPES)}, and {WRITE_IN} with a domain.", field="scopes"
            )
    return list(dict.fromkeys(scopes))


async def require_domains(
    connection: WriteConnection, kind: Kind, subjects: Sequence[int], instants: Sequence[datetime | None]
) -> None:
    """Refuse what is said of subjects from instants on, unless it is within the author's domains then and ever after. Asked
    before and after it is written, so that nothing is taken out of another domain, or put there."""
    domains = connection.author.domains
    if domains is None or not subjects:
        return
    asked = {"subjects": subjects, "instants": instants, "domains": sorted(domains)}
    outside = await connection.fetch_one(kind.statement("temporal/domain_violations"), asked)
    if outside is not None:
        place = f"in the domain {outside.domain}" if outside.domain is not None else "in no domain"
        allowed = ", ".join(sorted(domains))
        raise Forbidden(f"The {outside.kind.lower()} {outside.uid} is {place}, and these credentials write in {allowed} only.")

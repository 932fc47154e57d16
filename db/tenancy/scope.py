"""Scopes of a credential: reading, writing everywhere or in some domains, and administration."""

from collections.abc import Sequence

from db import fields
from db.errors import BadInput

READ, WRITE, ADMIN = "read", "write", "admin"
SCOPES = (READ, WRITE, ADMIN)

# Prefix of a scope that allows writing in one domain, before the name of the domain.
WRITE_IN = f"{WRITE}:"


def validate_scopes(scopes: Sequence[str]) -> list[str]:
    """Return the scopes without duplicates. Raise BadInput if there are none, or one is unknown."""
    if not scopes:
        raise BadInput(f"scopes is empty. Give at least one of {', '.join(SCOPES)}, or {WRITE_IN} with a domain.", field="scopes")
    for scope in scopes:
        if scope.startswith(WRITE_IN):
            fields.line("scopes", scope.removeprefix(WRITE_IN))
        elif scope not in SCOPES:
            raise BadInput(
                f"scopes holds {scope[:50]!r}, which is not a scope. Use {', '.join(SCOPES)}, or {WRITE_IN} with a domain.",
                field="scopes",
            )
    return list(dict.fromkeys(scopes))

"""Audit entries, and the statement that ends a write: it appends the entry and updates the quotas in use."""

from collections.abc import Mapping
from typing import Any

from db.author import Author
from db.sql import statement

# Outcomes that the audit log stores: a committed write, and a read by an operator. A failed write is stored with its error code.
COMMITTED, READ = "KEPT", "READ"

# The rows of `tenancy/_audit.sql` in a statement that always appends the entry.
ONE_ROW = "(SELECT) AS one_row"

WRITE_AUDIT_AND_QUOTA = statement("tenancy/write_audit_and_quota", audited_rows=ONE_ROW)


def audit_and_quota_parameters(author: Author, outcome: str | None, used: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Build the parameters of the statement. `used` maps the name of a kind to the number of identities added or, if negative,
    removed."""
    used = used or {}
    return {**audit_parameters(author, outcome), "kinds": list(used), "used": list(used.values())}


def audit_parameters(author: Author, outcome: str | None) -> dict[str, Any]:
    """Build the parameters of `tenancy/_audit.sql`. Without an outcome it appends no entry."""
    return {
        "actor": author.actor,
        "credential": author.credential,
        "operator": author.operator,
        "operation": author.operation,
        "outcome": outcome,
        "request_id": author.request_id,
    }

"""The author of a write: recorded with each change, and in the audit log."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Author:
    """The principal that writes, with its request. The audit log also records the operation."""

    actor: str
    request_id: str | None = None
    operation: str = "write"
    credential: str = "none"
    # acts in a tenant other than the one that issued its credential
    operator: bool = False
    # domains in which it may write; None: all
    domains: frozenset[str] | None = None
    # producer of what it reports, if it reports for one
    producer: str | None = None

"""Limits: the largest document, operation, page and walk that the service accepts."""

from collections.abc import Sized
from dataclasses import dataclass, field

from db.errors import LimitExceeded
from db.lineage.walk import Bounds


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one document, one operation and one field."""

    # of a document
    tokens: int = 2_000
    # of one that comes without a credential: three introspection queries
    anonymous_tokens: int = 500
    depth: int = 16
    introspection_depth: int = 2
    aliases: int = 15
    repeats: int = 15
    root_fields: int = 10
    spreads: int = 50
    # of an operation
    cost: int = 1_000_000
    # of a field
    list_length: int = 1_000
    page_size: int = 100
    representations: int = 1_000
    walk_page_size: int = 1_000
    max_walk_depth: int = 100
    walk_bounds: Bounds = field(default_factory=Bounds)


def check_entries(field: str, entries: Sized, limit: int) -> None:
    """Raise LimitExceeded that names a field if its list has more entries than allowed."""
    if len(entries) > limit:
        raise LimitExceeded(f"{field} has {len(entries)} entries. At most {limit} are allowed.", field=field)

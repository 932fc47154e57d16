"""Purge: removes assets that were deleted longer ago than the tenant's retention, with their associations and changes.

The change log is append-only for the service, so this runs as the schema owner, in a series of small transactions. After each of
them, the rest is consistent with the change log. See docs/retention.md.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from db.audit_entry import COMMITTED, WRITE_AUDIT_AND_QUOTA, audit_and_quota_parameters
from db.author import Author
from db.connection import OwnerConnection
from db.database import owner_transaction
from db.sql import Statement, statement, text
from db.temporal.kind import Kind
from db.temporal.kinds import ASSET_KINDS, ASSOCIATION_KINDS

# Bounds of one transaction, so that it holds its locks for moments only. A history is removed whole, so the last one of a
# transaction may exceed the bound on changes.
MAX_ASSETS = 500
MAX_ASSOCIATIONS = 5_000
MAX_CHANGES = 20_000

# The short lock timeout keeps writers from queueing behind a purge that waits for a lock itself.
_SET_TIMEOUTS = text(
    "SELECT set_config('lock_timeout', '2s', true), set_config('statement_timeout', '600s', true), set_config('jit', 'off', true)"
)
_BEFORE = statement("bulk/purge_before")
_COUNT = statement("bulk/purge_count")
_CANDIDATES = statement("bulk/purge_candidates")
_LOCK_ASSETS = statement("bulk/purge_lock_assets")
_RECHECK = statement("bulk/purge_recheck")
_ASSETS = statement("bulk/purge_assets")


@dataclass(slots=True)
class Removed:
    """Numbers of subjects removed, by kind, and of their changes."""

    subjects: Counter[str] = field(default_factory=Counter)
    changes: int = 0

    def add(self, kind: str, subjects: int, changes: int) -> None:
        self.subjects[kind] += subjects
        self.changes += changes

    def __iadd__(self, other: "Removed") -> "Removed":
        self.subjects += other.subjects
        self.changes += other.changes
        return self


class PurgeCursor(NamedTuple):
    """Position of a purge: a kind of assets, and the deletion of the last asset of this kind that was handled."""

    kind: Kind = ASSET_KINDS[0]
    deleted_at: datetime | None = None
    asset_id: int = 0


class Step(NamedTuple):
    """Result of one transaction: what it removed, and the position from which the next continues; None at the end."""

    removed: Removed
    next: PurgeCursor | None


async def count_past_retention(address: str, tenant_id: int) -> Removed | None:
    """Count what a purge would remove now. Return None if the tenant has no retention."""
    async with owner_transaction(address) as connection:
        transaction = _PurgeTransaction(connection, tenant_id)
        before = await transaction.begin()
        if before is None:
            return None
        counted = Removed()
        for row in await transaction.fetch(_COUNT, {"before": before}):
            counted.add(row.kind, row.subjects, row.changes)
        return counted


async def purge_step(address: str, tenant_id: int, author: Author, cursor: PurgeCursor) -> Step:
    """Remove some assets past retention in one transaction. The associations of an asset go first, over several steps if they are
    many."""
    async with owner_transaction(address) as connection:
        transaction = _PurgeTransaction(connection, tenant_id)
        before = await transaction.begin()
        return Step(Removed(), None) if before is None else await transaction.step(author, cursor, before)


class _PurgeTransaction:
    """One transaction of a purge."""

    def __init__(self, connection: OwnerConnection, tenant_id: int) -> None:
        self._connection = connection
        self._tenant_id = tenant_id

    async def fetch(self, statement: Statement, parameters: Mapping[str, Any]) -> Any:
        return await self._connection.fetch(statement, {"tenant": self._tenant_id, **parameters})

    async def begin(self) -> datetime | None:
        """Set the timeouts. Return the instant before which an asset has to be deleted to be removed; None: nothing is
        removed."""
        await self._connection.execute(_SET_TIMEOUTS)
        (row,) = await self.fetch(_BEFORE, {})
        before: datetime | None = row.before
        return before

    async def step(self, author: Author, cursor: PurgeCursor, before: datetime) -> Step:
        kind = cursor.kind
        of_kind = {"kind": kind.name, "before": before}
        after = {"after": cursor.deleted_at, "after_id": cursor.asset_id}
        candidates = await self.fetch(_CANDIDATES, {**of_kind, **after, "limit": MAX_ASSETS})
        if not candidates:
            return Step(Removed(), _next_kind(kind))
        locked = await self.fetch(_LOCK_ASSETS, {"assets": sorted({row.subject_id for row in candidates})})
        # A writer that held a lock before may have restored an asset.
        eligible = await self.fetch(_RECHECK, {**of_kind, "assets": [row.id for row in locked], "max_changes": MAX_CHANGES})
        removed = await self._remove(kind, [row.subject_id for row in eligible if row.within_bound])
        if removed.changes:
            used = {name: -count for name, count in removed.subjects.items()}
            parameters = {"tenant": self._tenant_id, **audit_and_quota_parameters(author, COMMITTED, used)}
            await self._connection.execute(WRITE_AUDIT_AND_QUOTA, parameters)
        if removed.subjects[kind.name] < len(eligible):
            return Step(removed, cursor)
        last = candidates[-1]
        return Step(removed, PurgeCursor(kind, last.change_ts, last.subject_id))

    async def _remove(self, kind: Kind, assets: list[int]) -> Removed:
        """Remove associations of assets, and those assets that have none left."""
        removed = Removed()
        if not assets:
            return removed
        for association in ASSOCIATION_KINDS:
            locked = await self.fetch(
                association.statement("bulk/purge_lock_associations"),
                {"assets": assets, "limit": MAX_ASSOCIATIONS, "max_changes": MAX_CHANGES},
            )
            if locked:
                ids = [row.id for row in locked]
                (row,) = await self.fetch(association.statement("bulk/purge_associations"), {"associations": ids})
                removed.add(association.name, row.subjects, row.changes)
        (row,) = await self.fetch(_ASSETS, {"kind": kind.name, "assets": assets})
        removed.add(kind.name, row.subjects, row.changes)
        return removed


def _next_kind(kind: Kind) -> PurgeCursor | None:
    following = ASSET_KINDS[ASSET_KINDS.index(kind) + 1 :]
    return PurgeCursor(following[0]) if following else None

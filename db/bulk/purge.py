"""Deletion for good: assets that ended longer ago than their tenant keeps them, and all that ever hung on them.

The log is append-only for the service, so whoever owns the tables does this, one transaction after another. Each is small, and
leaves what stands what the log says. See docs/retention.md.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Executable, text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.connection import COMMITTED, Author, owner_transaction
from db.sql import statement
from db.temporal.kind import Kind
from db.temporal.kinds import ASSET_KINDS, ASSOCIATION_KINDS

# What one transaction removes: few enough to hold its locks for moments only. A history is removed whole, so the last one may
# pass the bound of the log.
ASSETS = 500
BONDS_AT_ONCE = 5_000
CHANGES = 20_000

# Whoever writes is not to stand behind a purge that itself waits.
_ENTER = text(
    "SELECT set_config('lock_timeout', '2s', true), set_config('statement_timeout', '600s', true), set_config('jit', 'off', true)"
)
_BEFORE = statement("bulk/purge_before")
_COUNT = statement("bulk/purge_count")
_DUE = statement("bulk/purge_candidates")
_LOCK = statement("bulk/purge_lock_assets")
_DECIDE = statement("bulk/purge_recheck")
_ASSETS = statement("bulk/purge_assets")
_CONCLUDE = statement("bulk/purge_write_audit_and_quota")


@dataclass(slots=True)
class Removed:
    """How many of each kind are removed, and how many of their changes."""

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
    """How far a purge has come: the kind of assets, and when the last of them ended."""

    kind: Kind = ASSET_KINDS[0]
    after: datetime | None = None
    after_id: int = 0


class Step(NamedTuple):
    """What a transaction removed, and where the next goes on, if there is more."""

    removed: Removed
    place: PurgeCursor | None


async def count_past_retention(address: str, tenant_id: int) -> Removed | None:
    """What a purge would remove now. Nothing at all where a tenant keeps what was deleted for good."""
    async with owner_transaction(address) as connection:
        purging = _Purging(connection, tenant_id)
        before = await purging.enter()
        if before is None:
            return None
        counted = Removed()
        for row in await purging.fetch(_COUNT, {"before": before}):
            counted.add(row.kind, row.subjects, row.changes)
        return counted


async def purge_step(address: str, tenant_id: int, author: Author, place: PurgeCursor) -> Step:
    """Remove, in one transaction, some of what is past retention. What has many bonds loses these first, over several."""
    async with owner_transaction(address) as connection:
        purging = _Purging(connection, tenant_id)
        before = await purging.enter()
        return Step(Removed(), None) if before is None else await purging.step(author, place, before)


class _Purging:
    """One transaction of a purge."""

    def __init__(self, connection: AsyncConnection, tenant_id: int) -> None:
        self._connection = connection
        self._tenant_id = tenant_id

    async def fetch(self, statement: Executable, parameters: Mapping[str, Any]) -> Any:
        return (await self._connection.execute(statement, {"tenant": self._tenant_id, **parameters})).all()

    async def enter(self) -> datetime | None:
        """The instant up to which what ended is removed now."""
        await self._connection.execute(_ENTER)
        (row,) = await self.fetch(_BEFORE, {})
        before: datetime | None = row.before
        return before

    async def step(self, author: Author, place: PurgeCursor, before: datetime) -> Step:
        kind = place.kind
        asked = {"kind": kind.name, "before": before}
        found = await self.fetch(_DUE, {**asked, "after": place.after, "after_id": place.after_id, "assets": ASSETS})
        if not found:
            return Step(Removed(), _next_kind(kind))
        locked = await self.fetch(_LOCK, {"assets": sorted({row.subject_id for row in found})})
        # whoever held a lock may have brought one back
        due = await self.fetch(_DECIDE, {**asked, "assets": [row.id for row in locked], "changes": CHANGES})
        removed = await self._remove(kind, [row.subject_id for row in due if row.in_turn])
        if removed.changes:
            await self._conclude(author, removed)
        if removed.subjects[kind.name] < len(due):
            return Step(removed, place)
        return Step(removed, PurgeCursor(kind, found[-1].change_ts, found[-1].subject_id))

    async def _remove(self, kind: Kind, assets: list[int]) -> Removed:
        """Remove bonds of assets, and those assets that have none left."""
        removed = Removed()
        if not assets:
            return removed
        for bond in ASSOCIATION_KINDS:
            bounds = {"assets": assets, "bonds": BONDS_AT_ONCE, "changes": CHANGES}
            bonds = [row.id for row in await self.fetch(bond.statement("bulk/purge_lock_associations"), bounds)]
            if bonds:
                (row,) = await self.fetch(bond.statement("bulk/purge_associations"), {"bonds": bonds})
                removed.add(bond.name, row.subjects, row.changes)
        (row,) = await self.fetch(_ASSETS, {"kind": kind.name, "assets": assets})
        removed.add(kind.name, row.subjects, row.changes)
        return removed

    async def _conclude(self, author: Author, removed: Removed) -> None:
        told = {
            "tenant": self._tenant_id,
            "actor": author.actor,
            "credential": author.credential,
            "operator": author.operator,
            "operation": author.operation,
            "outcome": COMMITTED,
            "request_id": author.request_id,
            "kinds": list(removed.subjects),
            "removed": list(removed.subjects.values()),
        }
        await self._connection.execute(_CONCLUDE, told)


def _next_kind(kind: Kind) -> PurgeCursor | None:
    further = ASSET_KINDS[ASSET_KINDS.index(kind) + 1 :]
    return PurgeCursor(further[0]) if further else None

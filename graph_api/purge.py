"""`headwater purge`: tenant by tenant and transaction by transaction, for as long as nobody ends it."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager

from db.author import Author
from db.bulk.purge import PurgeCursor, Removed, Step, count_past_retention, purge_step
from db.errors import NotFound, Timeout, TransactionConflict
from db.retry import retry_on_conflict
from db.temporal.kinds import KINDS
from db.tenancy.tenant import Tenant, all_tenants
from graph_api.ingestion.progress import Progress

# How often a transaction that met other writers is tried in all.
ATTEMPTS = 5


class Purge:
    """One purge. What it says of a tenant counts what is gone, also when it ends before its time."""

    def __init__(
        self,
        address: str,
        author: Author,
        *,
        say: Callable[[str], None],
        progress: Callable[[int], AbstractContextManager[Progress]],
    ) -> None:
        self.interrupted: int | None = None
        self._address = address
        self._author = author
        self._say = say
        self._progress = progress
        self._counting: asyncio.Task[Removed | None] | None = None

    def interrupt(self, number: int) -> None:
        """End because of a signal, once the transaction at hand has."""
        self.interrupted = number
        if self._counting is not None:
            self._counting.cancel()

    async def run(self, named: str | None, *, dry_run: bool) -> None:
        """Purge the tenant of that name, or all of them."""
        for tenant in await self._tenants(named):
            self._counting = asyncio.create_task(count_past_retention(self._address, tenant.tenant_id))
            try:
                due = await self._counting
            except asyncio.CancelledError:
                if self.interrupted is None:
                    raise
                return
            finally:
                self._counting = None
            if due is None:
                self._say(f"{tenant.name}: has no retention, so what was deleted is kept for good.")
            elif dry_run:
                self._say(f"{tenant.name}: {described(due)} would be removed.")
            else:
                await self._purge(tenant, due)
            if self.interrupted is not None:
                return

    async def _tenants(self, named: str | None) -> list[Tenant]:
        tenants = await all_tenants(self._address)
        found = [it for it in tenants if named in (None, it.name)]
        if not found:
            raise NotFound(f"There is no tenant called {named!r}. There is: {', '.join(it.name for it in tenants)}.")
        return found

    async def _purge(self, tenant: Tenant, due: Removed) -> None:
        removed = Removed()
        place: PurgeCursor | None = PurgeCursor()
        try:
            with self._progress(due.changes) as progress:
                while place is not None and self.interrupted is None:
                    step = await self._step(tenant, place)
                    place = step.next
                    removed += step.removed
                    progress.advance(removed.changes, removed.changes)
        finally:
            self._say(f"{tenant.name}: {described(removed)} removed.")

    async def _step(self, tenant: Tenant, place: PurgeCursor) -> Step:
        async def attempt() -> Step:
            try:
                return await purge_step(self._address, tenant.tenant_id, self._author, place)
            except (TransactionConflict, Timeout):
                if self.interrupted is not None:
                    return Step(Removed(), None)
                raise

        try:
            return await retry_on_conflict(
                attempt, attempts=ATTEMPTS, max_delay=lambda number, took: 0.2, errors=(TransactionConflict, Timeout)
            )
        except (TransactionConflict, Timeout) as error:
            raise Timeout("Other writers hold locks on what the purge removes. Running it again removes what is left.") from error


def described(removed: Removed) -> str:
    """How many of each kind, and how much of the log."""
    counted = [(removed.subjects[kind.name], kind) for kind in KINDS]
    parts = [f"{count} {kind.label if count == 1 else kind.plural}" for count, kind in counted]
    return f"{', '.join(parts)} and {removed.changes} {'change' if removed.changes == 1 else 'changes'}"

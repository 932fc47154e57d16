"""`headwater purge`: permanent removal of what was deleted longer ago than its tenant retains it."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import click
from rich.console import Console

from db.author import Author
from db.bulk.purge import PurgeCursor, Removed, Step, count_past_retention, purge_step
from db.errors import NotFound, Timeout, TransactionConflict
from db.retry import retry_on_conflict
from db.temporal.kinds import KINDS
from db.tenancy.tenant import Tenant, all_tenants
from graph_api.command_settings import CommandSettings
from graph_api.commands.author import author_of
from graph_api.commands.database import address_of, migrated_database_of
from graph_api.commands.signals import forwarding_signals
from graph_api.ingestion.progress import Progress

# Attempts of a transaction that conflicts with other writers.
ATTEMPTS = 5
# Most seconds between two attempts.
MAX_DELAY = 0.2


def purge(tenant: str | None, dry_run: bool, data: Path | None) -> int:
    with migrated_database_of(data) as settings:
        interrupted = asyncio.run(_purge(settings, tenant, dry_run=dry_run))
    if interrupted is None:
        return 0
    click.echo("Interrupted. What is counted is removed permanently; run the purge again to remove the rest.", err=True)
    return 128 + interrupted


async def _purge(settings: CommandSettings, tenant: str | None, *, dry_run: bool) -> int | None:
    """Run the purge, and return the number of the signal that interrupted it, if one did."""
    running = Purge(
        address_of(settings),
        author_of("purge"),
        report=click.echo,
        progress=lambda total: Progress(Console(stderr=True), total, of="changes"),
    )
    with forwarding_signals(running.interrupt):
        await running.run(tenant, dry_run=dry_run)
    return running.interrupted


class Purge:
    """One run of the purge. Reports for each tenant what was removed, also when the run ends early."""

    def __init__(
        self,
        address: str,
        author: Author,
        *,
        report: Callable[[str], None],
        progress: Callable[[int], AbstractContextManager[Progress]],
    ) -> None:
        self.interrupted: int | None = None
        self._address = address
        self._author = author
        self._report = report
        self._progress = progress
        self._counting: asyncio.Task[Removed | None] | None = None

    def interrupt(self, number: int) -> None:
        """Stop because of a signal, after the current transaction."""
        self.interrupted = number
        if self._counting is not None:
            self._counting.cancel()

    async def run(self, name: str | None, *, dry_run: bool) -> None:
        """Purge the tenant of that name, or all tenants."""
        for tenant in await self._tenants(name):
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
                self._report(f"{tenant.name}: has no retention, so deleted assets are kept forever.")
            elif dry_run:
                self._report(f"{tenant.name}: {summary_of(due)} would be removed.")
            else:
                await self._purge(tenant, due)
            if self.interrupted is not None:
                return

    async def _tenants(self, name: str | None) -> list[Tenant]:
        tenants = await all_tenants(self._address)
        chosen = [it for it in tenants if name in (None, it.name)]
        if not chosen:
            raise NotFound(f"There is no tenant called {name!r}. There are: {', '.join(it.name for it in tenants)}.")
        return chosen

    async def _purge(self, tenant: Tenant, due: Removed) -> None:
        removed = Removed()
        cursor: PurgeCursor | None = PurgeCursor()
        try:
            with self._progress(due.changes) as progress:
                while cursor is not None and self.interrupted is None:
                    step = await self._step(tenant, cursor)
                    cursor = step.next
                    removed += step.removed
                    progress.advance(removed.changes, removed.changes)
        finally:
            self._report(f"{tenant.name}: {summary_of(removed)} removed.")

    async def _step(self, tenant: Tenant, cursor: PurgeCursor) -> Step:
        """Run one transaction of the purge, again while it conflicts with other writers."""

        async def attempt() -> Step:
            try:
                return await purge_step(self._address, tenant.tenant_id, self._author, cursor)
            except (TransactionConflict, Timeout):
                if self.interrupted is not None:
                    return Step(Removed(), None)
                raise

        try:
            return await retry_on_conflict(
                attempt, attempts=ATTEMPTS, max_delay=lambda number, took: MAX_DELAY, errors=(TransactionConflict, Timeout)
            )
        except (TransactionConflict, Timeout) as error:
            raise Timeout("Other writers hold locks on what is to be removed. Run the purge again later.") from error


def summary_of(removed: Removed) -> str:
    """Return the number of assets, associations and changes in words."""
    counts = [(removed.subjects[kind.name], kind) for kind in KINDS]
    parts = [f"{count} {kind.label if count == 1 else kind.plural}" for count, kind in counts]
    return f"{', '.join(parts)} and {removed.changes} {'change' if removed.changes == 1 else 'changes'}"

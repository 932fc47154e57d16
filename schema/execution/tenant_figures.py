"""Figures of tenants, as estimates use them: read in the background, and kept for a while."""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from db.database import Database
from db.driver import UNAVAILABLE
from db.errors import HeadwaterError, Unavailable
from db.lineage.figures import Figures, read_figures

# Seconds for which figures are used, and after which they are read again when an estimate wants them.
LIFETIME = 60.0
# Seconds until figures are read again that could not be read. They double with each failure, up to the most, unless the database
# does not answer: that is soon over, or costs nothing.
RETRY_INTERVAL = 5.0
MAX_RETRY_INTERVAL = 300.0
# Readings at a time. They have no slots, so the pool has connections for them.
MAX_READINGS = 2
# Seconds that a statement may take, and the whole reading, with a connection that may have to be opened.
STATEMENT_TIMEOUT = 1.0
READING_TIMEOUT = 3.0
# Seconds that a request waits for the first figures of its tenant.
MAX_WAIT = 5.0
# Tenants of which figures are kept.
MAX_TENANTS = 10_000

log = structlog.get_logger("headwater.figures")


@dataclass(slots=True)
class _Entry:
    """Figures of a tenant, and the time from which on they are read again. None: they are not known yet."""

    figures: Figures | None = None
    due: float = -math.inf
    reading: asyncio.Task[None] | None = None
    # the reason why the last reading failed, if the database did not answer
    unavailable: str | None = None
    # seconds until the next reading, should this one fail
    retry_interval: float = RETRY_INTERVAL


class TenantFigures:
    """Figures of the tenants of a process. An estimate takes those that are known; reading them anew keeps no request waiting.

    Each tenant has at most one reading, and readings take turns in the order in which they were wanted. A reading is bounded in
    rows and in time, so tenants do not hold up each other's for long.

    Figures are read again after a load by HTTP, which may add millions. After mutations, loads in other processes and purges,
    estimates use those of before for at most the lifetime. Where the tenant has grown, they are too low for that long. This is
    no way around the limit: an operation whose walks have cost as much runs no further ones, and what it has cost is charged.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        # the least recently used first
        self._entries: dict[int, _Entry] = {}
        # those of tenants that are forgotten included, until they have ended
        self._readings: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(MAX_READINGS)

    def known(self, tenant_id: int) -> Figures | None:
        """Return the figures of a tenant, if they are known. Begin to read them if they are not, or are old."""
        entry = self._entries.pop(tenant_id, None)
        if entry is None:
            entry = _Entry()
            if len(self._entries) >= MAX_TENANTS:
                self._forget(next(iter(self._entries)))
        self._entries[tenant_id] = entry
        if entry.due <= self._clock() and entry.reading is None:
            entry.reading = asyncio.get_running_loop().create_task(self._read(tenant_id, entry))
            self._readings.add(entry.reading)
            entry.reading.add_done_callback(self._readings.discard)
        return entry.figures

    async def wait_for_first(self, tenant_id: int) -> Figures | None:
        """Return the figures of a tenant. Wait for those that were never read, if they are being read, but not for long. Raise
        Unavailable if they could not be read because the database does not answer."""
        entry = self._entries.get(tenant_id)
        if entry is None:
            return None
        if entry.figures is None and entry.reading is not None:
            await asyncio.wait({entry.reading}, timeout=MAX_WAIT)
        if entry.figures is None and entry.unavailable is not None:
            raise Unavailable(entry.unavailable)
        return entry.figures

    def expire(self, tenant_id: int) -> None:
        """Read the figures of a tenant again before long: a load has changed them."""
        if (entry := self._entries.get(tenant_id)) is not None:
            entry.due = -math.inf

    async def wait_until_idle(self) -> None:
        """Wait until no figures are read."""
        while self._readings:
            await asyncio.wait(self._readings)

    async def close(self) -> None:
        """Cancel what is being read."""
        for reading in self._readings:
            reading.cancel()
        await self.wait_until_idle()

    def _forget(self, tenant_id: int) -> None:
        if (reading := self._entries.pop(tenant_id).reading) is not None:
            reading.cancel()

    async def _read(self, tenant_id: int, entry: _Entry) -> None:
        """Read the figures of a tenant in their turn."""
        interval = LIFETIME
        try:
            async with self._turns:
                # a load that ends from now on may not be in them
                entry.due = math.inf
                entry.figures = await self._read_now(tenant_id)
            entry.unavailable, entry.retry_interval = None, RETRY_INTERVAL
        except Exception as error:
            # an estimate without figures is higher, and so is one with those of before unless the tenant has grown
            is_expected = isinstance(error, HeadwaterError)
            log.warning("figures not read", tenant_id=tenant_id, reason=str(error), exc_info=not is_expected)
            interval = entry.retry_interval
            entry.unavailable = error.message if isinstance(error, Unavailable) else None
            if entry.unavailable is None:
                entry.retry_interval = min(2 * interval, MAX_RETRY_INTERVAL)
        finally:
            entry.due = min(entry.due, self._clock() + interval)
            entry.reading = None

    async def _read_now(self, tenant_id: int) -> Figures:
        snapshot = self._database.snapshot(tenant_id, read_now=False, statement_timeout=STATEMENT_TIMEOUT)
        try:
            async with asyncio.timeout(READING_TIMEOUT), snapshot as connection:
                return await read_figures(connection)
        except TimeoutError as error:
            raise Unavailable(UNAVAILABLE) from error

"""Figures of tenants, as estimates use them: read in the background, and kept for a while."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from db.database import Database
from db.errors import HeadwaterError
from db.lineage.figures import Figures, read_figures

# Seconds for which figures are used, and after which they are read again when an estimate wants them.
LIFETIME = 60.0
# Seconds until figures that could not be read are read again.
RETRY_INTERVAL = 5.0
# Tenants of which figures are kept.
MAX_TENANTS = 10_000

log = structlog.get_logger("headwater.figures")


@dataclass(slots=True)
class _Entry:
    """Figures of a tenant, and the time until which they are used; None: they are not known yet."""

    figures: Figures | None = None
    until: float = 0.0
    reading: asyncio.Task[None] | None = None


class TenantFigures:
    """Figures of the tenants of a process. An estimate takes those that are known; reading them anew keeps no request waiting."""

    def __init__(self, database: Database, lifetime: float = LIFETIME, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._lifetime = lifetime
        self._clock = clock
        self._entries: dict[int, _Entry] = {}
        # one statement at a time: it has no slot
        self._turn = asyncio.Lock()

    def of(self, tenant_id: int) -> Figures | None:
        """Return the figures of a tenant, if they are known. Begin to read them if they are not, or are old."""
        entry = self._entries.get(tenant_id)
        if entry is None:
            if len(self._entries) >= MAX_TENANTS:
                del self._entries[next(iter(self._entries))]
            entry = self._entries[tenant_id] = _Entry()
        if entry.until <= self._clock() and entry.reading is None:
            entry.reading = asyncio.get_running_loop().create_task(self._read(tenant_id, entry))
        return entry.figures

    async def first(self, tenant_id: int) -> bool:
        """Wait for figures that were never read. Return True if some are known."""
        entry = self._entries.get(tenant_id)
        if entry is None:
            return False
        if entry.figures is None and entry.reading is not None:
            await asyncio.shield(entry.reading)
        return entry.figures is not None

    def expire(self, tenant_id: int) -> None:
        """Read the figures of a tenant again before long: a load has changed them."""
        if (entry := self._entries.get(tenant_id)) is not None:
            entry.until = 0.0

    def idle(self) -> Awaitable[object]:
        """Wait until no figures are read."""
        return asyncio.gather(*(it.reading for it in self._entries.values() if it.reading is not None))

    async def close(self) -> None:
        """Cancel what is being read."""
        readings = [it.reading for it in self._entries.values() if it.reading is not None]
        for reading in readings:
            reading.cancel()
        await asyncio.gather(*readings, return_exceptions=True)

    async def _read(self, tenant_id: int, entry: _Entry) -> None:
        lifetime = RETRY_INTERVAL
        entry.until = math.inf
        try:
            async with self._turn, self._database.snapshot(tenant_id, read_now=False) as connection:
                entry.figures = await read_figures(connection)
                lifetime = self._lifetime
        except HeadwaterError as error:
            # an estimate without figures is higher, and so is one with those of before unless the tenant has grown
            log.warning("figures not read", tenant_id=tenant_id, reason=error.message)
        finally:
            # a load that has ended meanwhile may not be in them
            entry.until = min(entry.until, self._clock() + lifetime)
            entry.reading = None

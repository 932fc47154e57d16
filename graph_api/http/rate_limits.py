"""Rate limits by cost: how much a tenant, and a credential in it, may come to in a time."""

import asyncio
import math
import time
from dataclasses import dataclass
from typing import NamedTuple

import structlog
from limits import RateLimitItem, parse_many
from limits.aio.storage import MemoryStorage, RedisStorage, Storage
from limits.aio.storage.redis.redispy import RedispyBridge
from limits.aio.strategies import FixedWindowRateLimiter
from limits.errors import ConfigurationError

from db.errors import BadInput, RateLimited

# Seconds that Redis is waited for, and for which it is left alone once it did not answer.
PATIENCE = 0.25
LEFT_ALONE = 5

log = structlog.get_logger("headwater.rates")


class Window(NamedTuple):
    """What is left of a limit, and for how many seconds that holds."""

    name: str
    limit: RateLimitItem
    key: str
    remaining: int
    seconds: int


@dataclass(frozen=True, slots=True)
class RateLimitStatus:
    """Where a caller stands in each of its windows; there are none where nothing is counted."""

    windows: tuple[Window, ...] = ()

    @property
    def wait(self) -> int:
        """Seconds until something is left in every window; 0 where that is so."""
        return max((it.seconds for it in self.windows if it.remaining <= 0), default=0)

    def overdrawn(self) -> RateLimited:
        """What is said to whoever has to wait."""
        spent = " and the ".join(it.name for it in self.windows if it.remaining <= 0)
        return RateLimited(f"The {spent} may spend no more for now. There is more in {self.wait} s.")

    @property
    def headers(self) -> dict[str, str]:
        """As the IETF's draft on RateLimit header fields has it: two lists of structured fields."""
        if not self.windows:
            return {}
        policies = (f'"{it.name}";q={it.limit.amount};w={it.limit.get_expiry()}' for it in self.windows)
        standings = (f'"{it.name}";r={it.remaining};t={it.seconds}' for it in self.windows)
        return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(standings)}


class Rates:
    """Counts what is asked of one process, or of all that share a Redis, in fixed windows.

    What an operation costs is known once it is over, and is then charged in full: a window may be overdrawn by what was let in
    while something was left of it, and nothing more is let in until it ends. A Redis that does not answer stops nobody.
    """

    def __init__(self, tenant_rate: str = "", key_rate: str = "", redis_url: str | None = None) -> None:
        self._limits = {name: read_rate(rate) for name, rate in (("tenant", tenant_rate), ("key", key_rate)) if rate}
        self._storage = MemoryStorage() if redis_url is None else _shared(redis_url)
        self._limiter = FixedWindowRateLimiter(self._storage)
        self._failures: tuple[type[Exception], ...] = (OSError, *_failures_of(self._storage))
        self._again = 0.0

    async def standing(self, tenant_id: int, who: str) -> RateLimitStatus:
        """Where a caller stands now."""
        if time.monotonic() < self._again:
            return RateLimitStatus()
        try:
            async with asyncio.timeout(PATIENCE):
                windows = [await self._window(name, tenant_id, who) for name in self._limits]
        except self._failures as error:
            self._leave_alone(error)
            return RateLimitStatus()
        return RateLimitStatus(tuple(windows))

    async def charge(self, standing: RateLimitStatus, cost: int) -> RateLimitStatus:
        """Counts what was spent, and tells where the caller stands then."""
        try:
            async with asyncio.timeout(PATIENCE):
                return RateLimitStatus(tuple([await self._spend(window, cost) for window in standing.windows]))
        except self._failures as error:
            self._leave_alone(error)
            return RateLimitStatus()

    async def close(self) -> None:
        if isinstance(self._storage, RedisStorage) and isinstance(self._storage.bridge, RedispyBridge):
            await self._storage.bridge.storage.aclose()

    async def _window(self, name: str, tenant_id: int, who: str) -> Window:
        limit = self._limits[name]
        names = (name, str(tenant_id)) if name == "tenant" else (name, str(tenant_id), who)
        ends, remaining = await self._limiter.get_window_stats(limit, *names)
        return Window(name, limit, limit.key_for(*names), remaining, _seconds(limit, ends))

    async def _spend(self, window: Window, cost: int) -> Window:
        # as the strategy does, which does not tell how much was spent
        spent = await self._storage.incr(window.key, window.limit.get_expiry(), amount=cost)
        seconds = window.limit.get_expiry() if spent == cost else window.seconds
        return window._replace(remaining=max(0, window.limit.amount - spent), seconds=seconds)

    def _leave_alone(self, error: Exception) -> None:
        self._again = time.monotonic() + LEFT_ALONE
        log.warning("rates not counted", seconds=LEFT_ALONE, error=type(error).__name__)


def _seconds(limit: RateLimitItem, ends: float) -> int:
    """How long a window lasts still; one that has not begun lasts its whole time from when it does."""
    left = math.ceil(ends - time.time())
    return left if left > 0 else limit.get_expiry()


def _shared(redis_url: str) -> Storage:
    try:
        return RedisStorage(f"async+{redis_url}", implementation="redispy", key_prefix="HEADWATER")
    except ConfigurationError as error:
        raise BadInput("HEADWATER_REDIS_URL needs the client of Redis. Install headwater[redis].", field="redis_url") from error


def _failures_of(storage: Storage) -> tuple[type[Exception], ...]:
    kinds = storage.base_exceptions
    return kinds if isinstance(kinds, tuple) else (kinds,)


def read_rate(rate: str) -> RateLimitItem:
    """A rate in words, such as 20000000/minute."""
    try:
        (limit,) = parse_many(rate)
    except ValueError:
        raise ValueError("it is one rate, which reads like 20000000/minute or 500/10 seconds") from None
    if not limit.amount:
        raise ValueError("nothing at all is no rate; leave it empty for no limit")
    return limit

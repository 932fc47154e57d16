"""Rate limits: the cost that a tenant, and a credential in it, may spend in a window of time."""

import asyncio
import math
import re
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

# Seconds to wait for Redis, and seconds without rate limits after it failed to answer.
REDIS_TIMEOUT = 0.25
RETRY_INTERVAL = 5

_REDIS_URL = re.compile(r"rediss?://[^\s/?#]+(?:/\d*)?(?:\?\S*)?")

log = structlog.get_logger("headwater.rates")


class Window(NamedTuple):
    """Remaining cost of one limit, and the seconds until its window ends."""

    name: str
    limit: RateLimitItem
    key: str
    remaining: int
    seconds: int


@dataclass(frozen=True, slots=True)
class RateLimitStatus:
    """Windows of a caller; none where no limit applies or the counts are unavailable."""

    windows: tuple[Window, ...] = ()

    @property
    def retry_after(self) -> int:
        """Seconds until every window has cost left; 0 if that is the case now."""
        return max((it.seconds for it in self.windows if it.remaining <= 0), default=0)

    def error(self) -> RateLimited:
        """Return the error for a caller that has to wait."""
        exceeded = " and the ".join(it.name for it in self.windows if it.remaining <= 0)
        return RateLimited(f"Rate limit of the {exceeded} exceeded. Retry in {self.retry_after} s.")

    @property
    def headers(self) -> dict[str, str]:
        """The fields RateLimit-Policy and RateLimit of the IETF draft."""
        if not self.windows:
            return {}
        policies = (f'"{it.name}";q={it.limit.amount};w={it.limit.get_expiry()}' for it in self.windows)
        limits = (f'"{it.name}";r={it.remaining};t={it.seconds}' for it in self.windows)
        return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(limits)}


class RateLimiter:
    """Counter of cost in fixed windows, for one process or for all that share a Redis.

    The cost of an operation is known after it ran, and is then charged in full. Operations that were admitted while cost was left
    may therefore exceed a window; no more are admitted until it ends. While Redis does not answer, no limit applies.
    """

    def __init__(self, tenant_rate: str = "", key_rate: str = "", redis_url: str | None = None) -> None:
        self._limits = {name: parse_rate(rate) for name, rate in (("tenant", tenant_rate), ("key", key_rate)) if rate}
        self._storage = MemoryStorage() if redis_url is None else _redis_storage(redis_url)
        self._limiter = FixedWindowRateLimiter(self._storage)
        self._storage_errors: tuple[type[Exception], ...] = (OSError, *_errors_of(self._storage))
        self._disabled_until = 0.0

    async def status(self, tenant_id: int, credential: str) -> RateLimitStatus:
        """Return the windows of a caller."""
        if time.monotonic() < self._disabled_until:
            return RateLimitStatus()
        try:
            async with asyncio.timeout(REDIS_TIMEOUT):
                windows = [await self._window(name, tenant_id, credential) for name in self._limits]
        except self._storage_errors as error:
            self._disable(error)
            return RateLimitStatus()
        return RateLimitStatus(tuple(windows))

    async def charge(self, status: RateLimitStatus, cost: int) -> RateLimitStatus:
        """Add a cost to the windows of a caller, and return them."""
        try:
            async with asyncio.timeout(REDIS_TIMEOUT):
                return RateLimitStatus(tuple([await self._add(window, cost) for window in status.windows]))
        except self._storage_errors as error:
            self._disable(error)
            return RateLimitStatus()

    async def close(self) -> None:
        if isinstance(self._storage, RedisStorage) and isinstance(self._storage.bridge, RedispyBridge):
            await self._storage.bridge.storage.aclose()

    async def _window(self, name: str, tenant_id: int, credential: str) -> Window:
        limit = self._limits[name]
        identifiers = (name, str(tenant_id)) if name == "tenant" else (name, str(tenant_id), credential)
        ends_at, remaining = await self._limiter.get_window_stats(limit, *identifiers)
        return Window(name, limit, limit.key_for(*identifiers), remaining, _seconds_left(limit, ends_at))

    async def _add(self, window: Window, cost: int) -> Window:
        # FixedWindowRateLimiter.hit does the same, but does not return the total
        spent = await self._storage.incr(window.key, window.limit.get_expiry(), amount=cost)
        seconds = window.limit.get_expiry() if spent == cost else window.seconds
        return window._replace(remaining=max(0, window.limit.amount - spent), seconds=seconds)

    def _disable(self, error: Exception) -> None:
        self._disabled_until = time.monotonic() + RETRY_INTERVAL
        log.warning("rate limits unavailable", seconds=RETRY_INTERVAL, error=type(error).__name__)


def parse_rate(rate: str) -> RateLimitItem:
    """Parse a rate such as 20000000/minute, or raise ValueError."""
    try:
        (limit,) = parse_many(rate)
    except ValueError:
        raise ValueError("must be one rate such as 20000000/minute or 500/10 seconds, or empty for no limit") from None
    if not limit.amount:
        raise ValueError("the rate must be greater than 0, or empty for no limit")
    return limit


def validate_redis_url(url: str) -> str:
    """Return the URL of a Redis, or raise ValueError."""
    if not _REDIS_URL.fullmatch(url):
        raise ValueError("must be a URL such as redis://user:password@host:6379/0, or rediss:// for TLS")
    return url


def _seconds_left(limit: RateLimitItem, ends_at: float) -> int:
    """Return the seconds until a window ends, or its whole length if it has not begun."""
    seconds = math.ceil(ends_at - time.time())
    return seconds if seconds > 0 else limit.get_expiry()


def _redis_storage(redis_url: str) -> Storage:
    try:
        return RedisStorage(f"async+{redis_url}", implementation="redispy", key_prefix="HEADWATER")
    except ConfigurationError as error:
        raise BadInput("HEADWATER_REDIS_URL needs the Redis client. Install headwater[redis].", field="redis_url") from error


def _errors_of(storage: Storage) -> tuple[type[Exception], ...]:
    errors = storage.base_exceptions
    return errors if isinstance(errors, tuple) else (errors,)

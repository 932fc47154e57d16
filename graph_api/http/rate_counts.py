"""Counts of cost in fixed windows, in the memory of the process or in a Redis."""

import asyncio
import time
from typing import NamedTuple

from limits import RateLimitItem
from limits.aio.storage import RedisStorage
from limits.aio.storage.redis.redispy import RedispyBridge
from limits.errors import ConfigurationError

from db.errors import BadInput

# Seconds to wait for Redis.
REDIS_TIMEOUT = 0.25

# Number of windows from which on those that have ended are removed.
_MIN_SWEEP = 1_000


class Count(NamedTuple):
    """Cost spent in a window, and the time at which the window ends."""

    spent: int
    ends_at: float


class MemoryCounts:
    """Counts of one process.

    A window begins with the first cost in it, as in the storages of `limits`. The one in memory of that library runs a task for
    each cost and takes a lock for each key, for other strategies than fixed windows.
    """

    def __init__(self) -> None:
        self._counts: dict[str, Count] = {}
        self._sweep_at = _MIN_SWEEP

    def get(self, key: str) -> Count:
        """Return the count of a key. One whose window has ended is 0."""
        now = time.time()
        count = self._counts.get(key)
        return Count(0, now) if count is None or count.ends_at <= now else count

    def add(self, key: str, seconds: int, cost: int) -> Count:
        """Add a cost, in a new window of some seconds if there is none, and return the count."""
        now = time.time()
        count = self._counts.get(key)
        if count is None or count.ends_at <= now:
            self._sweep(now)
            count = Count(0, now + seconds)
        self._counts[key] = count = Count(count.spent + cost, count.ends_at)
        return count

    def _sweep(self, now: float) -> None:
        """Remove windows that have ended, whenever the number of windows has doubled."""
        if len(self._counts) >= self._sweep_at:
            self._counts = {key: count for key, count in self._counts.items() if count.ends_at > now}
            self._sweep_at = max(_MIN_SWEEP, 2 * len(self._counts))


class RedisCounts:
    """Counts of all processes that share a Redis. A call raises one of `errors` if Redis does not answer in time."""

    def __init__(self, url: str) -> None:
        try:
            self._storage = RedisStorage(f"async+{url}", implementation="redispy", key_prefix="HEADWATER")
        except ConfigurationError as error:
            raise BadInput("HEADWATER_REDIS_URL needs the Redis client. Install headwater[redis].", field="redis_url") from error
        of_redis = self._storage.base_exceptions
        self.errors: tuple[type[Exception], ...] = (OSError, *(of_redis if isinstance(of_redis, tuple) else (of_redis,)))

    async def get(self, keys: list[str]) -> list[Count]:
        """Return the count of each key."""
        async with asyncio.timeout(REDIS_TIMEOUT):
            return [Count(await self._storage.get(key), await self._storage.get_expiry(key)) for key in keys]

    async def add(self, windows: list[tuple[str, RateLimitItem]], cost: int) -> list[int]:
        """Add a cost to the window of each key, and return what is spent in them."""
        async with asyncio.timeout(REDIS_TIMEOUT):
            return [await self._storage.incr(key, limit.get_expiry(), amount=cost) for key, limit in windows]

    async def close(self) -> None:
        if isinstance(self._storage.bridge, RedispyBridge):
            await self._storage.bridge.storage.aclose()

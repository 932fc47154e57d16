"""Counts of cost in fixed windows, in a Redis."""

import asyncio
from typing import NamedTuple

from limits import RateLimitItem
from limits.aio.storage import RedisStorage
from limits.aio.storage.redis.redispy import RedispyBridge
from limits.errors import ConfigurationError

from db.errors import BadInput

# Seconds to wait for Redis.
REDIS_TIMEOUT = 0.25


class Count(NamedTuple):
    """Cost spent in a window, and the time at which the window ends."""

    spent: int
    ends_at: float


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

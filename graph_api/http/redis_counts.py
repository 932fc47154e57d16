"""Counts of cost in fixed windows, in a Redis."""

import asyncio
import time
from typing import NamedTuple

from limits.aio.storage import RedisStorage
from limits.aio.storage.redis.redispy import RedispyBridge
from limits.errors import ConfigurationError

from db.errors import BadInput

# Seconds to wait for Redis.
REDIS_TIMEOUT = 0.25


# Adds a cost to the windows of all keys, and returns what is spent in each, its end and the milliseconds until then. A cost
# begins a window where there is none. A refund, a cost below 0, changes only the window with the given end.
_ADD = b"""
local time, cost, counts = redis.call('TIME'), tonumber(ARGV[1]), {}
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for index, key in ipairs(KEYS) do
    local seconds, refunded = tonumber(ARGV[2 * index]), tonumber(ARGV[2 * index + 1])
    local window = redis.call('HMGET', key, 'spent', 'end')
    local spent, ends = tonumber(window[1] or 0), tonumber(window[2] or 0)
    if cost > 0 and ends == 0 then
        ends = now + seconds * 1000
        redis.call('HSET', key, 'end', string.format('%.0f', ends))
        redis.call('PEXPIREAT', key, string.format('%.0f', ends))
    end
    if cost > 0 or cost < 0 and ends > 0 and ends == refunded then
        spent = redis.call('HINCRBY', key, 'spent', ARGV[1])
    end
    counts[index] = {spent, ends, math.max(0, ends - now)}
end
return counts
"""


class Span(NamedTuple):
    """Key of the windows of a caller, their length in seconds, and the end of the one that a refund is for."""

    key: str
    seconds: int
    end: int = 0


class Count(NamedTuple):
    """Cost spent in a window, the time at which the window ends, and its end by the clock of Redis, which identifies it there."""

    spent: int
    ends_at: float
    end: int


class RedisCounts:
    """Counts of all processes that share a Redis. A call raises one of `errors` if Redis does not answer in time."""

    def __init__(self, url: str) -> None:
        try:
            self._storage = RedisStorage(f"async+{url}", implementation="redispy", key_prefix="HEADWATER")
        except ConfigurationError as error:
            raise BadInput("HEADWATER_REDIS_URL needs the Redis client. Install headwater[redis].", field="redis_url") from error
        bridge = self._storage.bridge
        assert isinstance(bridge, RedispyBridge), "that of the implementation"
        self._bridge = bridge
        self._add = bridge.get_connection().register_script(_ADD)
        of_redis = self._storage.base_exceptions
        self.errors: tuple[type[Exception], ...] = (OSError, *(of_redis if isinstance(of_redis, tuple) else (of_redis,)))

    async def add(self, spans: list[Span], cost: int) -> list[Count]:
        """Add a cost to the current window of each span, or take a negative one from the window of its end if that lasts. Return
        the windows. A cost of 0 only reads them."""
        keys = [self._bridge.prefixed_key(it.key) for it in spans]
        arguments = [cost, *[argument for it in spans for argument in (it.seconds, it.end)]]
        async with asyncio.timeout(REDIS_TIMEOUT):
            counts = await self._add(keys, arguments)
        now = time.time()
        return [Count(spent, now + milliseconds / 1000, end) for spent, end, milliseconds in counts]

    async def close(self) -> None:
        await self._bridge.storage.aclose()

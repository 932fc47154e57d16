"""Rate limits: the cost that a tenant, and a credential in it, may spend in a window of time."""

import math
import re
import time
from collections.abc import Sequence
from typing import NamedTuple
from weakref import WeakValueDictionary

import structlog
from limits import RateLimitItem, parse_many

from db.errors import RateLimited
from graph_api.http.redis_counts import RedisCounts, Span

# Number of callers from which on windows that have ended are removed.
_MIN_SWEEP = 1_000

# Seconds without rate limits after Redis failed to answer.
RETRY_INTERVAL = 5

_REDIS_URL = re.compile(r"rediss?://[^\s/?#]+(?:/\d*)?(?:\?\S*)?")

log = structlog.get_logger("headwater.rates")


class Limit:
    """Limit of a name: an amount of cost in a window of some seconds."""

    def __init__(self, name: str, item: RateLimitItem) -> None:
        self.name = name
        self.item = item
        self.amount: int = item.amount
        self.seconds: int = item.get_expiry()
        self.policy = f'"{name}";q={self.amount};w={self.seconds}'

    def key(self, tenant_id: int, credential: str) -> str:
        """Return the key under which the cost of a caller is counted."""
        identifiers = (str(tenant_id),) if self.name == "tenant" else (str(tenant_id), credential)
        return self.item.key_for(self.name, *identifiers)


def policy_of(limits: Sequence[Limit]) -> str:
    """Return the value of RateLimit-Policy."""
    return ", ".join([it.policy for it in limits])


class Window:
    """Cost that a caller has spent of one limit, and the time at which the window ends.

    A window begins with the first cost in it.
    """

    __slots__ = ("__weakref__", "ends_at", "key", "limit", "redis_end", "spent")

    def __init__(self, limit: Limit, key: str, spent: int = 0, ends_at: float = 0.0, redis_end: int = 0) -> None:
        self.limit = limit
        self.key = key
        self.spent = spent
        self.ends_at = ends_at
        # identifies a window in Redis
        self.redis_end = redis_end

    @property
    def name(self) -> str:
        return self.limit.name

    @property
    def remaining(self) -> int:
        return max(0, self.limit.amount - self.spent)


class RateLimitStatus(NamedTuple):
    """Windows of a caller; none where no limit applies or the counts are unavailable."""

    windows: tuple[Window, ...] = ()
    # the policies of the limits, as a header
    policy: str = ""

    @property
    def retry_after(self) -> int:
        """Seconds until every window has cost left; 0 if that is the case now."""
        seconds = 0
        for window in self.windows:
            # one that has ended while the operation waited is no obstacle
            if window.spent >= window.limit.amount and (left := window.ends_at - time.time()) > 0:
                seconds = max(seconds, math.ceil(left))
        return seconds

    def error(self) -> RateLimited:
        """Return the error for a caller that has to wait."""
        exceeded = " and the ".join(it.name for it in self.windows if it.remaining <= 0)
        return RateLimited(f"Rate limit of the {exceeded} exceeded. Retry in {self.retry_after} s.")

    @property
    def headers(self) -> dict[str, str]:
        """The fields RateLimit-Policy and RateLimit of the IETF draft."""
        if not self.windows:
            return {}
        now = time.time()
        fields = [
            f'"{it.limit.name}";r={max(0, it.limit.amount - it.spent)};'
            f"t={math.ceil(it.ends_at - now) if it.ends_at > now else it.limit.seconds}"
            for it in self.windows
        ]
        return {"RateLimit-Policy": self.policy, "RateLimit": ", ".join(fields)}


_NO_WINDOWS = RateLimitStatus()


class Charge(NamedTuple):
    """Estimated cost with which an operation has entered the windows of a caller, or was refused because one is exceeded."""

    status: RateLimitStatus
    cost: int
    # the time at which each window ends: those of this process go on, and begin anew
    ends: tuple[float, ...] = ()
    is_admitted: bool = True


class RateLimiter:
    """Counter of cost in fixed windows, for one process or for all that share a Redis.

    An operation enters while cost is left, with its estimated cost, so that others cannot enter on what it is going to use. When
    it ends, the estimate is replaced by the actual cost. So the last one to enter may exceed a window; no more are admitted until
    it ends. While Redis does not answer, no limit applies.
    """

    def __init__(self, tenant_rate: str = "", key_rate: str = "", redis_url: str | None = None) -> None:
        rates = (("tenant", tenant_rate), ("key", key_rate))
        self._limits = [Limit(name, parse_rate(rate)) for name, rate in rates if rate]
        self._own_windows = _OwnWindows(self._limits)
        self._shared_counts = None if redis_url is None else RedisCounts(redis_url)
        self._disabled_until = 0.0

    async def status(self, tenant_id: int, credential: str) -> RateLimitStatus:
        """Return the windows of a caller."""
        if self._shared_counts is None:
            return self._own_windows.status(tenant_id, credential)
        if time.monotonic() < self._disabled_until:
            return RateLimitStatus()
        windows = tuple([Window(limit, limit.key(tenant_id, credential)) for limit in self._limits])
        return await self._count(RateLimitStatus(windows, policy_of(self._limits)), 0)

    async def charge(self, status: RateLimitStatus, cost: int) -> RateLimitStatus:
        """Add a cost to the windows of a caller, and return them."""
        if self._shared_counts is None:
            self._own_windows.charge(status, cost)
            return status
        return await self._count(status, cost)

    async def enter(self, status: RateLimitStatus, cost: int) -> Charge:
        """Charge the estimated cost of an operation, unless a window is exceeded."""
        if self._shared_counts is None:
            if status.retry_after:
                return Charge(status, 0, is_admitted=False)
            self._own_windows.charge(status, cost)
            return Charge(status, cost, tuple([it.ends_at for it in status.windows]))
        charge = Charge(await self._count(status, cost), cost)
        # another process may have charged since the status was read
        if any(it.spent - cost >= it.limit.amount for it in charge.status.windows):
            return Charge(await self.settle(charge, 0), 0, is_admitted=False)
        return charge

    async def settle(self, charge: Charge, cost: int) -> RateLimitStatus:
        """Replace the estimated cost of an operation by its actual cost, and return the windows. If a window has ended since it
        was charged, only what exceeds the estimate is charged to the one that has followed it."""
        status, more = charge.status, cost - charge.cost
        if self._shared_counts is None:
            self._own_windows.settle(charge, more)
            return status
        return await self._count(status, more) if more else status

    async def close(self) -> None:
        if self._shared_counts is not None:
            await self._shared_counts.close()

    async def _count(self, status: RateLimitStatus, cost: int) -> RateLimitStatus:
        """Add a cost to windows in Redis, or take a negative one from those of a status, and return the current ones."""
        if self._shared_counts is None or not status.windows:
            return status
        spans = [Span(it.key, it.limit.seconds, it.redis_end) for it in status.windows]
        try:
            counts = await self._shared_counts.add(spans, cost)
        except self._shared_counts.errors as error:
            self._disable(error)
            return RateLimitStatus()
        windows = [Window(it.limit, it.key, *count) for it, count in zip(status.windows, counts, strict=True)]
        return status._replace(windows=tuple(windows))

    def _disable(self, error: Exception) -> None:
        self._disabled_until = time.monotonic() + RETRY_INTERVAL
        log.warning("rate limits unavailable", seconds=RETRY_INTERVAL, error=type(error).__name__)


class _OwnWindows:
    """Windows of the callers of this process. They are counted in place, so that a request looks them up once.

    There is one window of a key, as long as it lasts or a request holds it.
    """

    def __init__(self, limits: Sequence[Limit]) -> None:
        self._limits = limits
        # by key, as the credentials of a tenant share one; and by caller
        self._windows: WeakValueDictionary[str, Window] = WeakValueDictionary()
        # those that had not ended at the last sweep
        self._lasting: list[Window] = []
        self._statuses: dict[tuple[int, str], RateLimitStatus] = {}
        self._sweep_at = _MIN_SWEEP

    def status(self, tenant_id: int, credential: str) -> RateLimitStatus:
        """Return the windows of a caller. One that has ended has nothing spent."""
        if not self._limits:
            return _NO_WINDOWS
        now = time.time()
        status = self._statuses.get((tenant_id, credential))
        if status is None:
            self._sweep(now)
            keys = [limit.key(tenant_id, credential) for limit in self._limits]
            windows = [self._windows.setdefault(key, Window(it, key)) for it, key in zip(self._limits, keys, strict=True)]
            status = self._statuses[tenant_id, credential] = RateLimitStatus(tuple(windows), policy_of(self._limits))
        for window in status.windows:
            if window.ends_at <= now:
                window.spent = 0
        return status

    def charge(self, status: RateLimitStatus, cost: int) -> None:
        """Add a cost to windows, and begin those that have ended anew."""
        now = time.time()
        for window in status.windows:
            if window.ends_at <= now:
                window.spent, window.ends_at = 0, now + window.limit.seconds
            window.spent += cost

    def settle(self, charge: Charge, more: int) -> None:
        """Add to the cost of a charge, or take from it, as long as its windows last."""
        now = time.time()
        for window, ends_at in zip(charge.status.windows, charge.ends, strict=True):
            if window.ends_at == ends_at and ends_at > now:
                window.spent += more
            elif more > 0:
                self.charge(RateLimitStatus((window,)), more)

    def _sweep(self, now: float) -> None:
        """Remove windows that have ended, whenever the number of callers has doubled. Callers find theirs again."""
        if len(self._statuses) >= self._sweep_at:
            self._lasting = [it for it in self._windows.values() if it.ends_at > now]
            self._statuses.clear()
            self._sweep_at = max(_MIN_SWEEP, 2 * len(self._lasting))


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

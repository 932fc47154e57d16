"""Cache of asynchronous lookups with a time to live."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from math import inf
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(slots=True)
class _Entry(Generic[Value]):
    task: "asyncio.Task[Value]"
    expires_at: float = inf


class SingleFlightCache(Generic[Key, Value]):
    """Async TTL cache. Concurrent lookups share one call; failures are not cached.

    A caller that is cancelled does not cancel the call for the others. Beyond `max_entries`, the oldest entry is evicted.
    """

    def __init__(self, load: Callable[[Key], Awaitable[Value]], ttl: float, max_entries: int = 10_000) -> None:
        self._load = load
        self._ttl = ttl
        self._max_entries = max_entries
        self._entries: OrderedDict[Key, _Entry[Value]] = OrderedDict()

    async def get(self, key: Key) -> Value:
        """Return the cached value, or load it."""
        loop = asyncio.get_running_loop()
        entry = self._entries.get(key)
        if entry is None or entry.expires_at <= loop.time():
            entry = self._start_load(key, loop)
        return await asyncio.shield(entry.task)

    def expires_at(self, key: Key) -> float:
        """Return the time of the loop at which the value of a key expires; one that is not cached has expired."""
        entry = self._entries.get(key)
        return -inf if entry is None else entry.expires_at

    def _start_load(self, key: Key, loop: asyncio.AbstractEventLoop) -> _Entry[Value]:
        async def load() -> Value:
            return await self._load(key)

        entry = _Entry(loop.create_task(load()))

        def set_expiry(task: "asyncio.Task[Value]") -> None:
            # reading the exception keeps asyncio from reporting it when all callers were cancelled
            failed = task.cancelled() or task.exception() is not None
            entry.expires_at = 0 if failed else loop.time() + self._ttl

        entry.task.add_done_callback(set_expiry)
        self._entries.pop(key, None)
        self._entries[key] = entry
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)
        return entry

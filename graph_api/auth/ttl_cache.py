"""What was found a moment ago, and is believed for as long."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from math import inf
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(slots=True)
class _Finding(Generic[Value]):
    task: "asyncio.Task[Value]"
    until: float = inf


class SingleFlightCache(Generic[Key, Value]):
    """Finds by a key: once for however many ask at the same time, and not again for some seconds. What could not be found out is
    tried again by the next who asks. One who goes away takes nothing from the others."""

    def __init__(self, find: Callable[[Key], Awaitable[Value]], seconds: float, size: int = 10_000) -> None:
        self._find = find
        self._seconds = seconds
        self._size = size
        self._findings: OrderedDict[Key, _Finding[Value]] = OrderedDict()

    async def get(self, key: Key) -> Value:
        loop = asyncio.get_running_loop()
        known = self._findings.get(key)
        if known is None or known.until <= loop.time():
            known = self._begin(key, loop)
        return await asyncio.shield(known.task)

    def _begin(self, key: Key, loop: asyncio.AbstractEventLoop) -> _Finding[Value]:
        async def find() -> Value:
            return await self._find(key)

        begun = _Finding(loop.create_task(find()))

        def settle(task: "asyncio.Task[Value]") -> None:
            # asking for the exception has it not be reported where nobody waited to the end
            failed = task.cancelled() or task.exception() is not None
            begun.until = 0 if failed else loop.time() + self._seconds

        begun.task.add_done_callback(settle)
        self._findings.pop(key, None)
        self._findings[key] = begun
        while len(self._findings) > self._size:
            self._findings.popitem(last=False)
        return begun

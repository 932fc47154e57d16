"""Calls that are shared by those who want the same at the same time."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(slots=True, eq=False)
class _Call(Generic[Value]):
    task: "asyncio.Task[Value]"
    waiting: int = 0


class SingleFlight(Generic[Key, Value]):
    """Calls by key. Callers that wait for one share its result or its error; neither is kept for later ones.

    A caller that is cancelled leaves the call to the others. Without callers it is cancelled.
    """

    def __init__(self) -> None:
        self._calls: dict[Key, _Call[Value]] = {}

    async def run(self, key: Key, function: Callable[[], Coroutine[Any, Any, Value]]) -> Value:
        """Return the result of the call that runs for a key. Call the function if none does."""
        call = self._calls.get(key)
        if call is None:
            call = self._calls[key] = _Call(asyncio.create_task(function()))
        call.waiting += 1
        try:
            return await asyncio.shield(call.task)
        finally:
            call.waiting -= 1
            if not call.waiting:
                del self._calls[key]
                call.task.cancel()

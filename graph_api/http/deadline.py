"""Early ends of a request: the client disconnects, or the time limit is over. Only an operation that waits pays for the watch."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar, cast

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from db.errors import Timeout

# Status in the log for a client that disconnected before its response; HTTP defines none.
CLIENT_CLOSED_REQUEST = 499

# Seconds after which a request begins to watch for a disconnect.
WATCH_DELAY = 0.01


T = TypeVar("T")


async def within(seconds: float, coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine. Cancel it and raise Timeout if it takes longer."""
    started = StartedCoroutine(coroutine)
    if started.is_done:
        return started.result
    async with TimeLimit(seconds):
        return await started


async def watched(receive: Receive, seconds: float, coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine. Cancel it and raise ClientDisconnect if the client disconnects, or Timeout if it takes longer.

    The body must have been read before.
    """
    started = StartedCoroutine(coroutine)
    if started.is_done:
        return started.result
    async with CancelOnDisconnect(receive, seconds):
        return await started


class StartedCoroutine(Generic[T]):
    """A coroutine that was run up to where it first waits. One that does not wait is done, and has a result."""

    __slots__ = ("_coroutine", "_waits_for", "is_done", "result")

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self.is_done = False
        try:
            self._waits_for = coroutine.send(None)
        except StopIteration as ended:
            self.is_done = True
            self.result: T = ended.value

    def __await__(self) -> Generator[Any, None, T]:
        """Run the rest, as if nothing had happened between."""
        while True:
            try:
                yield self._waits_for
            except BaseException as error:
                try:
                    self._waits_for = self._coroutine.throw(error)
                except StopIteration as ended:
                    return cast(T, ended.value)
            else:
                return (yield from self._coroutine.__await__())


class _CancellableBlock(ABC):
    """Context manager whose block `_cancel` cancels. On the way out, `_was_cancelled` tells this from other cancellations."""

    _is_cancelling = False

    async def __aenter__(self) -> None:
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task(self._loop)
        assert task is not None, "requests run in tasks"
        self._task = task
        self._cancelling_before = task.cancelling()
        self._timer = self._start_timer()

    @abstractmethod
    def _start_timer(self) -> asyncio.TimerHandle:
        """Start the timer that leads to the cancellation."""

    def _cancel(self) -> None:
        if not self._is_cancelling:
            self._is_cancelling = True
            self._task.cancel()

    def _was_cancelled(self, kind: type[BaseException] | None) -> bool:
        """True if nobody else cancelled the block, too."""
        if not self._is_cancelling:
            return False
        return self._task.uncancel() <= self._cancelling_before and kind is asyncio.CancelledError


class CancelOnDisconnect(_CancellableBlock):
    """Context manager that cancels its block and raises ClientDisconnect when the client disconnects, or Timeout after some
    seconds.

    The body must have been read before. Most blocks end before the watch begins, so it costs them one timer.
    """

    def __init__(self, receive: Receive, seconds: float | None = None) -> None:
        self._receive = receive
        self._seconds = seconds
        self._watcher: asyncio.Task[None] | None = None
        self._is_late = False

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        if self._was_cancelled(kind):
            raise (_timeout(self._seconds) if self._is_late and self._seconds is not None else ClientDisconnect) from None

    def _start_timer(self) -> asyncio.TimerHandle:
        return self._loop.call_later(WATCH_DELAY, self._start_watcher)

    def _start_watcher(self) -> None:
        self._watcher = self._loop.create_task(self._watch())
        if self._seconds is not None:
            self._timer = self._loop.call_later(self._seconds - WATCH_DELAY, self._time_out)

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._cancel()

    def _time_out(self) -> None:
        if not self._is_cancelling:
            self._is_late = True
            self._cancel()


class TimeLimit(_CancellableBlock):
    """Context manager that cancels its block and raises Timeout after some seconds, at a fifth of the cost of asyncio.timeout."""

    def __init__(self, seconds: float, message: str | None = None) -> None:
        self._seconds = seconds
        self._message = message

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._timer.cancel()
        if self._was_cancelled(kind):
            raise (_timeout(self._seconds) if self._message is None else Timeout(self._message)) from None

    def _start_timer(self) -> asyncio.TimerHandle:
        return self._loop.call_later(self._seconds, self._cancel)


def _timeout(seconds: float) -> Timeout:
    return Timeout(f"The operation took longer than {seconds:g} s and was cancelled.")

"""Early ends of a request: the client disconnects, or the time limit is over."""

import asyncio
from types import TracebackType

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from db.errors import Timeout

# Status in the log for a client that disconnected before its response; HTTP defines none.
CLIENT_CLOSED_REQUEST = 499

# Seconds after which a request begins to watch for a disconnect.
WATCH_DELAY = 0.01


class CancelOnDisconnect:
    """Context manager that cancels its block and raises ClientDisconnect when the client disconnects.

    The body must have been read before. Most blocks end before the watch begins, so it costs them one timer.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._disconnected = False
        self._watcher: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "requests run in tasks"
        self._task = task
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(WATCH_DELAY, self._start)

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._timer.cancel()
        if self._watcher is None:
            return
        self._watcher.cancel()
        if self._disconnected and kind is asyncio.CancelledError:
            self._task.uncancel()
            raise ClientDisconnect from None

    def _start(self) -> None:
        self._watcher = self._loop.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._disconnected = True
        self._task.cancel()


class TimeLimit:
    """Context manager that cancels its block and raises Timeout after some seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as expired:
            raise Timeout(f"The operation took longer than {self._seconds:g} s and was cancelled.") from expired

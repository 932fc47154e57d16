"""Early ends of a request: the client disconnects, or the time limit is over."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request

from db.errors import Timeout

# Status in the log for a client that disconnected before its response; HTTP defines none.
CLIENT_CLOSED_REQUEST = 499


@asynccontextmanager
async def cancel_on_disconnect(request: Request) -> AsyncIterator[None]:
    """Cancel the block and raise ClientDisconnect when the client disconnects. The body must have been read before."""
    task = asyncio.current_task()
    assert task is not None, "requests run in tasks"
    disconnected = False

    async def watch() -> None:
        nonlocal disconnected
        while (await request.receive())["type"] != "http.disconnect":
            pass
        disconnected = True
        task.cancel()

    watcher = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if not disconnected:
            raise
        task.uncancel()
        raise ClientDisconnect from None
    finally:
        watcher.cancel()


@asynccontextmanager
async def time_limit(seconds: float) -> AsyncIterator[None]:
    """Cancel the block and raise Timeout after some seconds."""
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise Timeout(f"The operation took longer than {seconds:g} s and was cancelled.") from error

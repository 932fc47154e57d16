"""How long a request goes on: until it is done, its client goes away, or its time is over."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request

from db.errors import Timeout

# What log readers know a client by that did not wait for its answer; HTTP has no word for it.
CLIENT_GONE = 499


@asynccontextmanager
async def cancel_on_disconnect(request: Request) -> AsyncIterator[None]:
    """Ends what runs within when the client goes away, for nobody waits for it any more. The body has to be read before."""
    task = asyncio.current_task()
    assert task is not None, "requests run in tasks"
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone = True
        task.cancel()

    watching = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if not gone:
            raise
        task.uncancel()
        raise ClientDisconnect from None
    finally:
        watching.cancel()


@asynccontextmanager
async def time_limit(seconds: float) -> AsyncIterator[None]:
    """Ends what runs within when its time is over."""
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise Timeout(f"It took longer than {seconds:g} s, and was ended.") from error

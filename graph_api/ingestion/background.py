"""Work in a daemon thread."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def in_background(work: Callable[[], T]) -> asyncio.Future[T]:
    """Run a function in a daemon thread, which does not keep the process alive while it waits for a silent pipe."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(set_outcome: Callable[[], None]) -> None:
        if not future.done():
            set_outcome()

    def run() -> None:
        try:
            set_outcome = partial(future.set_result, work())
        except Exception as error:
            set_outcome = partial(future.set_exception, error)
        # The loop may be closed already.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, set_outcome)

    Thread(target=run, daemon=True).start()
    return future

"""Signals, where a command ends in its own time."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def signals_given_to(receiver: Callable[[int], None]) -> Iterator[None]:
    """What usually ends a process on the spot is told to something that works in this loop."""
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    # what nohup has ignored stays ignored
    heard = [number for number, handler in before.items() if handler is not signal.SIG_IGN]

    def tell(number: int, _: FrameType | None) -> None:
        loop.call_soon_threadsafe(receiver, number)

    for number in heard:
        signal.signal(number, tell)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])

"""Signals, for commands that finish their current work before they exit."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def forwarding_signals(receive: Callable[[int], None]) -> Iterator[None]:
    """Call `receive` in this event loop for SIGINT, SIGTERM and SIGHUP, instead of ending the process.

    A signal that was ignored before, as by nohup, stays ignored. Only the main thread can handle signals: elsewhere none is
    forwarded.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    forwarded = [number for number, handler in before.items() if handler is not signal.SIG_IGN]

    def forward(number: int, _: FrameType | None) -> None:
        loop.call_soon_threadsafe(receive, number)

    for number in forwarded:
        signal.signal(number, forward)
    try:
        yield
    finally:
        for number in forwarded:
            signal.signal(number, before[number])

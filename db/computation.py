"""Computations beside the event loop: in a thread, within a time limit, and only as long as somebody awaits them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import TypeVar

from db.admission import Admission
from db.errors import Timeout

T = TypeVar("T")

# Steps of a loop between two checks of its computation: some tenths of a millisecond.
STEPS_PER_CHECK = 1_000


class Computation:
    """A computation. Its loops call `check` now and then, which ends it when it is late or cancelled."""

    __slots__ = ("_ends_at", "_is_cancelled", "_seconds")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._is_cancelled = False
        self.begin()

    def begin(self) -> None:
        """Start the time."""
        self._ends_at = monotonic() + self._seconds

    def cancel(self) -> None:
        """End it at its next check. May be called from another thread."""
        self._is_cancelled = True

    def check(self) -> None:
        """Raise Timeout if the time is over, or nobody awaits the result."""
        if self._is_cancelled or monotonic() > self._ends_at:
            raise Timeout("The graph is too large to be analysed within the time limit. Walk fewer levels, or filter the walk.")


class ComputationThread:
    """A thread for computations, in turns of the tenants. One at a time: several would keep the event loop waiting for the
    interpreter lock."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, name)
        self._admission = Admission(1)

    async def run(self, tenant_id: int, computation: Computation, compute: Callable[[Computation], T]) -> T:
        """Return the result of a function, whose time begins with its turn. Cancel it if the caller is cancelled.

        A caller with several computations awaits each before the next, so that those of other callers have their turns. No
        credential is known here, so those of one tenant have theirs in order.
        """

        def run() -> T:
            computation.begin()
            computation.check()
            return compute(computation)

        try:
            async with self._admission.slot(tenant_id, ""):
                return await asyncio.get_running_loop().run_in_executor(self._executor, run)
        finally:
            computation.cancel()


# Statistics take seconds, and graphs of walks some hundredths of one, so they do not wait for each other.
WALK_GRAPHS = ComputationThread("headwater-graphs")
STATISTICS = ComputationThread("headwater-statistics")

"""Computations in a thread: turns, time limits, and cancellation with whoever awaits them."""

import asyncio
import threading
from functools import partial

import pytest

from db.computation import Computation, ComputationThread
from db.errors import Timeout

pytestmark = pytest.mark.unit

TIMEOUT = 10.0


def compute_until_ended(computation: Computation) -> None:
    """Compute without an end of its own."""
    while True:
        computation.check()


async def test_a_computation_ends_with_who_awaits_it_and_the_thread_is_free_again() -> None:
    thread = ComputationThread("test")
    started, ended = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def compute(computation: Computation) -> None:
        loop.call_soon_threadsafe(started.set)
        try:
            compute_until_ended(computation)
        finally:
            ended.set()

    running = asyncio.create_task(thread.run(1, Computation(60), compute))
    waiting = asyncio.create_task(thread.run(1, Computation(60), compute_until_ended))
    async with asyncio.timeout(TIMEOUT):
        await started.wait()
        waiting.cancel()
        running.cancel()
        outcomes = await asyncio.gather(running, waiting, return_exceptions=True)
        assert [type(it) for it in outcomes] == [asyncio.CancelledError] * 2
        assert await thread.run(1, Computation(60), lambda computation: "free") == "free"
    assert ended.is_set()


async def test_the_time_of_a_computation_begins_with_its_turn() -> None:
    thread = ComputationThread("test")
    async with asyncio.timeout(TIMEOUT):
        late = asyncio.create_task(thread.run(1, Computation(0.2), compute_until_ended))
        after = asyncio.create_task(thread.run(1, Computation(0.1), lambda computation: computation.check()))
        with pytest.raises(Timeout, match="within the time limit"):
            await late
        await after


async def test_the_computations_of_a_tenant_are_not_all_before_that_of_another() -> None:
    thread = ComputationThread("test")
    all_wait = threading.Event()
    order: list[int] = []

    def compute(tenant_id: int, _: Computation) -> None:
        all_wait.wait(TIMEOUT)
        order.append(tenant_id)

    async with asyncio.timeout(TIMEOUT), asyncio.TaskGroup() as group:
        for tenant_id in (1, 1, 1, 2):
            group.create_task(thread.run(tenant_id, Computation(60), partial(compute, tenant_id)))
        await asyncio.sleep(0)
        all_wait.set()
    assert order == [1, 2, 1, 1]

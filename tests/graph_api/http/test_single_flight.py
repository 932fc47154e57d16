"""SingleFlight: one call for those who wait for it, and none without them."""

import asyncio

import pytest

from graph_api.http.single_flight import SingleFlight


class Calls:
    """Counts calls, which end when they are told to."""

    def __init__(self) -> None:
        self.begun = self.cancelled = 0
        self.end: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def __call__(self) -> int:
        self.begun += 1
        try:
            return await asyncio.shield(self.end)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


async def start(flight: SingleFlight[str, int], calls: Calls, key: str = "a") -> "asyncio.Task[int]":
    task = asyncio.create_task(flight.run(key, calls))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


async def test_callers_of_a_key_share_a_call_and_the_next_one_begins_another() -> None:
    flight, calls = SingleFlight[str, int](), Calls()
    tasks = [await start(flight, calls) for _ in range(3)] + [await start(flight, calls, "b")]
    assert calls.begun == 2
    calls.end.set_result(5)
    assert await asyncio.gather(*tasks) == [5, 5, 5, 5]
    assert await flight.run("a", calls) == 5
    assert (calls.begun, flight._calls) == (3, {})


async def test_a_failure_is_raised_to_those_who_wait_only() -> None:
    flight, calls = SingleFlight[str, int](), Calls()
    tasks = [await start(flight, calls) for _ in range(3)]
    calls.end.set_exception(ValueError("x"))
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(it) for it in outcomes] == [ValueError] * 3
    calls.end = asyncio.get_running_loop().create_future()
    calls.end.set_result(5)
    assert await flight.run("a", calls) == 5


async def test_only_the_last_caller_that_leaves_cancels_the_call() -> None:
    flight, calls = SingleFlight[str, int](), Calls()
    first, last = await start(flight, calls), await start(flight, calls)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert calls.cancelled == 0
    last.cancel()
    # one that comes before the call has ended does not share it
    late = await start(flight, calls)
    assert (calls.begun, calls.cancelled) == (2, 1)
    calls.end.set_result(5)
    assert await late == 5

"""Parts of each request that cost almost nothing: a free slot, limits of time, the watch for a disconnect, counts in memory."""

import asyncio
import time
from typing import Any
from uuid import UUID

import pytest
from starlette.requests import ClientDisconnect

from db.admission import Admission
from db.errors import Timeout
from graph_api.http import deadline
from graph_api.http.deadline import CancelOnDisconnect, TimeLimit
from graph_api.http.rate_limits import RateLimiter
from graph_api.http.request import RequestHeaders, request_id_of
from graph_api.http.responses import is_json_type, response_type
from tests.graph_api.http.test_disconnect import TIMEOUT

pytestmark = pytest.mark.unit


class Client:
    """Client whose body was received, and who disconnects when told."""

    def __init__(self, *, connected: bool = True) -> None:
        self.calls = 0
        self._disconnected = asyncio.Event()
        if not connected:
            self.disconnect()

    def disconnect(self) -> None:
        self._disconnected.set()

    async def receive(self) -> dict[str, Any]:
        self.calls += 1
        await self._disconnected.wait()
        return {"type": "http.disconnect"}


def block_loop(seconds: float) -> None:
    time.sleep(seconds)


async def test_a_block_that_ends_soon_never_watches_its_client() -> None:
    client, tasks = Client(), len(asyncio.all_tasks())
    async with CancelOnDisconnect(client.receive):
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == tasks
    await asyncio.sleep(2 * deadline.WATCH_DELAY)
    assert client.calls == 0


async def test_a_disconnect_before_or_during_the_block_cancels_it() -> None:
    for connected in (False, True):
        client = Client(connected=connected)
        asyncio.get_running_loop().call_later(3 * deadline.WATCH_DELAY, client.disconnect)
        started = time.monotonic()
        with pytest.raises(ClientDisconnect):
            async with CancelOnDisconnect(client.receive):
                await asyncio.sleep(TIMEOUT)
        assert time.monotonic() - started < TIMEOUT
        # the task itself is not cancelled
        task = asyncio.current_task()
        assert task
        assert task.cancelling() == 0
        await asyncio.sleep(0)


async def test_a_cancellation_from_elsewhere_is_not_taken_for_a_disconnect_or_a_timeout() -> None:
    async def run(block: Any) -> None:
        async with block:
            await asyncio.sleep(TIMEOUT)

    watches = (CancelOnDisconnect(Client().receive), CancelOnDisconnect(Client().receive, TIMEOUT))
    for block in (*watches, TimeLimit(TIMEOUT)):
        task = asyncio.create_task(run(block))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_the_limit_of_time_is_over_once_its_block_ends() -> None:
    async with TimeLimit(0.01):
        pass
    await asyncio.sleep(0.05)
    with pytest.raises(Timeout, match=r"0\.01 s"):
        async with TimeLimit(TIMEOUT), TimeLimit(0.01):
            await asyncio.sleep(TIMEOUT)


async def test_a_watch_with_a_limit_of_time_ends_by_what_happens_first() -> None:
    for seconds in (deadline.WATCH_DELAY / 2, 3 * deadline.WATCH_DELAY):
        with pytest.raises(Timeout, match=f"{seconds:g} s"):
            async with CancelOnDisconnect(Client().receive, seconds):
                await asyncio.sleep(TIMEOUT)
        async with CancelOnDisconnect(Client().receive, seconds):
            pass
    client = Client()

    async def run() -> None:
        async with CancelOnDisconnect(client.receive, 4 * deadline.WATCH_DELAY):
            await asyncio.sleep(2 * deadline.WATCH_DELAY)
            client.disconnect()
            # the time is over, too, before the block takes notice
            await asyncio.sleep(0)
            block_loop(3 * deadline.WATCH_DELAY)
            await asyncio.sleep(TIMEOUT)

    with pytest.raises(ClientDisconnect):
        await run()
    await asyncio.sleep(5 * deadline.WATCH_DELAY)
    task = asyncio.current_task()
    assert task
    assert task.cancelling() == 0


async def test_a_disconnect_and_a_timeout_at_once_leave_the_task_uncancelled() -> None:
    client = Client()

    async def run() -> None:
        async with CancelOnDisconnect(client.receive), TimeLimit(3 * deadline.WATCH_DELAY):
            await asyncio.sleep(2 * deadline.WATCH_DELAY)
            client.disconnect()
            # both are due in one step of the loop
            block_loop(2 * deadline.WATCH_DELAY)
            await asyncio.sleep(TIMEOUT)

    with pytest.raises((ClientDisconnect, Timeout)):
        await run()
    task = asyncio.current_task()
    assert task
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_a_free_slot_is_assigned_without_suspending_and_never_more_than_there_are() -> None:
    admission = Admission(3, 100, TIMEOUT)
    held = most = 0
    entering = admission.slot(1, "a").__aenter__()
    with pytest.raises(StopIteration) as entered:
        entering.send(None)
    entered.value.value.release()

    async def work(number: int) -> None:
        nonlocal held, most
        async with admission.slot(number % 4, "ab"[number % 2]) as slot:
            held += 1
            most = max(most, held)
            await asyncio.sleep(0)
            held -= 1
            if number % 3 == 0:
                slot.release()
                slot.release()
            if number % 5 == 0:
                raise ValueError("failed")

    outcomes = await asyncio.gather(*map(work, range(100)), return_exceptions=True)
    assert sum(isinstance(it, ValueError) for it in outcomes) == 20
    assert [it for it in outcomes if it is not None and not isinstance(it, ValueError)] == []
    assert most == 3
    assert (admission._free, admission._held.total(), admission._waiters) == (3, 0, [])


async def test_a_count_begins_anew_after_its_window(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr(time, "time", lambda: now)
    limiter = RateLimiter("", "100/10 seconds")

    async def spend(cost: int) -> tuple[int, float]:
        (window,) = (await limiter.charge(await limiter.status(1, "a"), cost)).windows
        return window.spent, window.ends_at

    assert (await limiter.status(1, "a")).windows[0].spent == 0
    assert await spend(3) == (3, 1_010)
    now = 1_009.9
    assert await spend(4) == (7, 1_010)
    assert (await limiter.status(1, "a")).windows[0].spent == 7
    now = 1_010.0
    assert (await limiter.status(1, "a")).windows[0].spent == 0
    assert await spend(1) == (1, 1_020)


async def test_windows_that_have_ended_are_removed_and_a_later_cost_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr(time, "time", lambda: now)
    limiter = RateLimiter("", "100/10 seconds")
    running = await limiter.status(1, "running")
    for number in range(50_000):
        now += 0.1
        await limiter.charge(await limiter.status(1, str(number)), 1)
    assert len(limiter._own_windows._windows) <= 1_000
    assert len(limiter._own_windows._statuses) <= 1_000
    first = await limiter.status(1, "running")
    await limiter.charge(running, 5)
    await limiter.charge(first, 6)
    assert (await limiter.status(1, "running")).windows[0].spent == 11


def test_of_a_repeated_header_the_first_value_counts_and_all_are_kept() -> None:
    headers = RequestHeaders([(b"accept", b"a"), (b"x-api-key", b"first"), (b"accept", b"b"), (b"x-api-key", b"second")])
    assert (headers.get(b"accept"), headers.all(b"accept"), headers.all(b"host")) == (b"a", [b"a", b"b"], [])
    assert headers.credentials() == ("first", None, None)
    assert RequestHeaders([(b"authorization", b"Bearer t")]).credentials().forwarded == "Bearer t"
    assert RequestHeaders([(b"authorization", b"Bearer hw_1_x")]).credentials().forwarded is None


def test_a_long_header_value_is_understood_without_being_cached() -> None:
    json_type = b"application/json; charset=utf-8" + b" " * 300
    assert is_json_type(json_type)
    assert response_type(json_type) == "application/json"
    assert not is_json_type(b"text/plain" + b" " * 300)


def test_a_new_request_id_is_a_random_uuid() -> None:
    ids = {request_id_of(None) for _ in range(100)}
    assert len(ids) == 100
    assert {(UUID(it).version, str(UUID(it)) == it) for it in ids} == {(4, True)}

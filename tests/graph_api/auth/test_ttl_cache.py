"""SingleFlightCache: shared lookups, expiry, failures, cancellation and eviction."""

import asyncio
from collections import Counter

import pytest

from graph_api.auth.ttl_cache import SingleFlightCache


class Loader:
    """Loader that returns the key with its number of calls, once it is released."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.released = asyncio.Event()
        self.failure: Exception | None = None
        self.cancelled = 0

    async def __call__(self, key: str) -> str:
        self.calls[key] += 1
        number = self.calls[key]
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.failure is not None:
            raise self.failure
        return f"{key}{number}"


async def run_ready_tasks() -> None:
    """Let all tasks that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_concurrent_callers_share_one_call() -> None:
    load = Loader()
    cache = SingleFlightCache(load, 60)
    waiting = [asyncio.create_task(cache.get(key)) for key in ("a", "b", "a", "a")]
    await run_ready_tasks()
    assert load.calls == {"a": 1, "b": 1}
    load.released.set()
    assert await asyncio.gather(*waiting) == ["a1", "b1", "a1", "a1"]
    assert await cache.get("a") == "a1"


async def test_an_entry_is_loaded_again_after_its_ttl(monkeypatch: pytest.MonkeyPatch) -> None:
    load = Loader()
    load.released.set()
    cache = SingleFlightCache(load, 10)
    loop = asyncio.get_running_loop()
    started = loop.time()
    assert await cache.get("a") == "a1"
    await run_ready_tasks()
    for later, value in ((9, "a1"), (11, "a2"), (20, "a2"), (22, "a3")):
        monkeypatch.setattr(loop, "time", lambda later=later: started + later)
        assert await cache.get("a") == value
        await run_ready_tasks()


async def test_the_ttl_starts_when_the_value_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    load = Loader()
    cache = SingleFlightCache(load, 10)
    loop = asyncio.get_running_loop()
    started = loop.time()
    waiting = asyncio.create_task(cache.get("a"))
    await run_ready_tasks()
    monkeypatch.setattr(loop, "time", lambda: started + 100)
    # a running call is shared however long it takes
    assert (again := asyncio.create_task(cache.get("a"))) is not waiting
    await run_ready_tasks()
    load.released.set()
    assert (await waiting, await again) == ("a1", "a1")
    await run_ready_tasks()
    monkeypatch.setattr(loop, "time", lambda: started + 109)
    assert await cache.get("a") == "a1"


async def test_with_a_ttl_of_zero_every_caller_loads() -> None:
    load = Loader()
    load.released.set()
    cache = SingleFlightCache(load, 0)
    values = []
    for _ in range(2):
        values.append(await cache.get("a"))
        await run_ready_tasks()
    assert values == ["a1", "a2"]


async def test_a_failure_is_raised_to_all_waiting_callers_and_is_not_cached() -> None:
    load = Loader()
    cache = SingleFlightCache(load, 60)
    load.failure = LookupError("nothing there")
    waiting = [asyncio.create_task(cache.get("a")) for _ in range(3)]
    await run_ready_tasks()
    load.released.set()
    failed = await asyncio.gather(*waiting, return_exceptions=True)
    assert [str(it) for it in failed] == ["nothing there"] * 3
    load.failure = None
    assert await cache.get("a") == "a2"


async def test_a_cancelled_caller_does_not_cancel_the_call() -> None:
    load = Loader()
    cache = SingleFlightCache(load, 60)
    first, second = asyncio.create_task(cache.get("a")), asyncio.create_task(cache.get("a"))
    await run_ready_tasks()
    first.cancel()
    await run_ready_tasks()
    assert first.cancelled()
    load.released.set()
    assert (await second, load.cancelled, load.calls["a"]) == ("a1", 0, 1)


async def test_a_value_is_cached_although_all_callers_were_cancelled() -> None:
    load = Loader()
    cache = SingleFlightCache(load, 60)
    waiting = asyncio.create_task(cache.get("a"))
    await run_ready_tasks()
    waiting.cancel()
    await run_ready_tasks()
    load.released.set()
    await run_ready_tasks()
    assert await cache.get("a") == "a1"


async def test_a_failure_after_all_callers_were_cancelled_is_not_reported() -> None:
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    load = Loader()
    cache = SingleFlightCache(load, 60)
    load.failure = LookupError("nothing there")
    waiting = asyncio.create_task(cache.get("a"))
    await run_ready_tasks()
    waiting.cancel()
    load.released.set()
    await run_ready_tasks()
    del cache, waiting
    await run_ready_tasks()
    assert reported == []


async def test_the_oldest_entry_is_evicted_beyond_the_maximum() -> None:
    load = Loader()
    load.released.set()
    cache = SingleFlightCache(load, 60, max_entries=2)
    for key in ("a", "b", "a", "c"):
        await cache.get(key)
    assert len(cache._entries) == 2
    assert [await cache.get(it) for it in ("b", "c", "a")] == ["b1", "c1", "a2"]


async def test_an_evicted_running_call_still_returns_to_its_callers() -> None:
    load = Loader()
    cache = SingleFlightCache(load, 60, max_entries=1)
    waiting = [asyncio.create_task(cache.get(key)) for key in ("a", "b", "c")]
    await run_ready_tasks()
    load.released.set()
    assert await asyncio.gather(*waiting) == ["a1", "b1", "c1"]
    assert len(cache._entries) == 1

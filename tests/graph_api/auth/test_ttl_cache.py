"""What was just found is believed for a while: found once for all who ask together, and never believed where it failed."""

import asyncio
from collections import Counter

import pytest

from graph_api.auth.ttl_cache import SingleFlightCache


class Finder:
    """Finds a key's number of times asked, when it is let."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.let = asyncio.Event()
        self.failure: Exception | None = None
        self.cancelled = 0

    async def __call__(self, key: str) -> str:
        self.asked[key] += 1
        number = self.asked[key]
        try:
            await self.let.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.failure is not None:
            raise self.failure
        return f"{key}{number}"


async def settled() -> None:
    """Has all that can go on go on."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_asks_at_the_same_time_is_answered_by_one_look() -> None:
    find = Finder()
    fresh = SingleFlightCache(find, 60)
    asking = [asyncio.create_task(fresh.get(key)) for key in ("a", "b", "a", "a")]
    await settled()
    assert find.asked == {"a": 1, "b": 1}
    find.let.set()
    assert await asyncio.gather(*asking) == ["a1", "b1", "a1", "a1"]
    assert await fresh.get("a") == "a1"


async def test_after_its_time_it_is_looked_for_again_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    find = Finder()
    find.let.set()
    fresh = SingleFlightCache(find, 10)
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await fresh.get("a") == "a1"
    await settled()
    for later, answer in ((9, "a1"), (11, "a2"), (20, "a2"), (22, "a3")):
        monkeypatch.setattr(loop, "time", lambda later=later: began + later)
        assert await fresh.get("a") == answer
        await settled()


async def test_its_time_begins_when_it_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    find = Finder()
    fresh = SingleFlightCache(find, 10)
    loop = asyncio.get_running_loop()
    began = loop.time()
    asking = asyncio.create_task(fresh.get("a"))
    await settled()
    monkeypatch.setattr(loop, "time", lambda: began + 100)
    # however long it takes, it is the same look
    assert (again := asyncio.create_task(fresh.get("a"))) is not asking
    await settled()
    find.let.set()
    assert (await asking, await again) == ("a1", "a1")
    await settled()
    monkeypatch.setattr(loop, "time", lambda: began + 109)
    assert await fresh.get("a") == "a1"


async def test_where_nothing_is_to_be_believed_each_looks() -> None:
    find = Finder()
    find.let.set()
    fresh = SingleFlightCache(find, 0)
    answers = []
    for _ in range(2):
        answers.append(await fresh.get("a"))
        await settled()
    assert answers == ["a1", "a2"]


async def test_a_failure_is_told_to_all_who_waited_and_the_next_looks_again() -> None:
    find = Finder()
    fresh = SingleFlightCache(find, 60)
    find.failure = LookupError("nothing there")
    asking = [asyncio.create_task(fresh.get("a")) for _ in range(3)]
    await settled()
    find.let.set()
    failed = await asyncio.gather(*asking, return_exceptions=True)
    assert [str(it) for it in failed] == ["nothing there"] * 3
    find.failure = None
    assert await fresh.get("a") == "a2"


async def test_who_goes_away_takes_nothing_from_the_others() -> None:
    find = Finder()
    fresh = SingleFlightCache(find, 60)
    first, second = asyncio.create_task(fresh.get("a")), asyncio.create_task(fresh.get("a"))
    await settled()
    first.cancel()
    await settled()
    assert first.cancelled()
    find.let.set()
    assert (await second, find.cancelled, find.asked["a"]) == ("a1", 0, 1)


async def test_though_all_go_away_what_was_looked_for_is_found_and_kept() -> None:
    find = Finder()
    fresh = SingleFlightCache(find, 60)
    asking = asyncio.create_task(fresh.get("a"))
    await settled()
    asking.cancel()
    await settled()
    find.let.set()
    await settled()
    assert await fresh.get("a") == "a1"


async def test_a_failure_that_nobody_waited_for_is_reported_nowhere() -> None:
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    find = Finder()
    fresh = SingleFlightCache(find, 60)
    find.failure = LookupError("nothing there")
    asking = asyncio.create_task(fresh.get("a"))
    await settled()
    asking.cancel()
    find.let.set()
    await settled()
    del fresh, asking
    await settled()
    assert reported == []


async def test_no_more_is_kept_than_there_is_room_for_and_what_came_first_goes_first() -> None:
    find = Finder()
    find.let.set()
    fresh = SingleFlightCache(find, 60, max_entries=2)
    for key in ("a", "b", "a", "c"):
        await fresh.get(key)
    assert len(fresh._entries) == 2
    assert [await fresh.get(it) for it in ("b", "c", "a")] == ["b1", "c1", "a2"]


async def test_what_is_being_looked_for_is_found_though_there_is_no_room_for_it() -> None:
    find = Finder()
    fresh = SingleFlightCache(find, 60, max_entries=1)
    asking = [asyncio.create_task(fresh.get(key)) for key in ("a", "b", "c")]
    await settled()
    find.let.set()
    assert await asyncio.gather(*asking) == ["a1", "b1", "c1"]
    assert len(fresh._entries) == 1

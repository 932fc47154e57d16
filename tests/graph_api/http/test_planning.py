"""Plans of one document: how many are kept, what the others cost, and how long they delay other requests."""

import asyncio
import gc
import itertools
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from graphql import Token

from schema.execution.document import CACHED_DOCUMENT_CHARACTERS, Documents, PreparedDocument
from schema.execution.executor import Executor
from schema.planning.cache import CACHED_PLANS
from schema.planning.plan import Plan
from schema.planning.planner import Planner
from tests.builders import Api
from tests.graph_api.http.test_disconnect import TIMEOUT, Service
from tests.graph_api.http.test_long_answers import Turns
from tests.processes import wait_until

pytestmark = pytest.mark.api

FLAGS = [f"f{number}" for number in range(9)]
_DECLARED = ", ".join(f"${it}: Boolean!" for it in FLAGS)
# It uses no database, so only planning takes time.
MANY = f"query ({_DECLARED}) {{ {' '.join(f'{it}: __typename @include(if: ${it})' for it in FLAGS)} }}"
COMBINATIONS = [dict(zip(FLAGS, it, strict=True)) for it in itertools.product([False, True], repeat=len(FLAGS))]
# It makes a text large, and takes no time.
COMMENT = "x" * 3_000
# Seconds of one planning, so long that the duration of everything else does not matter.
SLOW = 0.02
# Longest turn of the event loop, in seconds of the processor.
LONGEST_TURN = 0.03


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The instants at which a plan was compiled."""
    instants: list[float] = []
    plan = Planner.plan

    def noting_plan(*arguments: Any) -> Plan:
        instants.append(time.perf_counter())
        return plan(*arguments)

    monkeypatch.setattr(Planner, "plan", noting_plan)
    return instants


@pytest.fixture
def slowly_planned(planned: list[float], monkeypatch: pytest.MonkeyPatch) -> list[float]:
    plan = Planner.plan

    def slow_plan(*arguments: Any) -> Plan:
        time.sleep(SLOW)
        return plan(*arguments)

    monkeypatch.setattr(Planner, "plan", slow_plan)
    return planned


async def test_eight_plans_are_kept_and_each_further_one_costs_its_fields(api: Api, planned: list[float]) -> None:
    def plans() -> int:
        gc.collect()
        return sum(isinstance(it, Plan) for it in gc.get_objects())

    before = plans()
    costs = []
    for combination in COMBINATIONS[:300]:
        response = await api(MANY, None, **combination)
        assert len(response.data) == sum(combination.values())
        cost = response.body["extensions"]["cost"]
        assert cost["actual"] == cost["requested"]
        costs.append(cost["actual"])
    assert costs == [0] * CACHED_PLANS + [sum(it.values()) for it in COMBINATIONS[CACHED_PLANS:300]]
    assert len(planned) == 300
    # the step of this task holds the future that it awaited last
    await asyncio.sleep(0)
    assert plans() - before == CACHED_PLANS
    # a kept plan is neither compiled nor charged again
    assert (await api(MANY, None, **COMBINATIONS[3])).body["extensions"]["cost"]["actual"] == 0
    assert len(planned) == 300


async def test_the_cost_of_a_plan_is_charged(api: Api) -> None:
    def remaining(headers: Any) -> int:
        return int(headers["ratelimit"].split("r=")[1].split(";")[0])

    for combination in COMBINATIONS[:CACHED_PLANS]:
        before = await api(MANY, None, **combination)
    kept = await api(MANY, None, **COMBINATIONS[0])
    another = await api(MANY, None, **COMBINATIONS[-1])
    # an operation costs 1 at least
    assert remaining(before.headers) - remaining(kept.headers) == 1
    assert remaining(kept.headers) - remaining(another.headers) == len(FLAGS)


async def test_plans_count_in_the_bound_of_cached_documents(api: Api) -> None:
    documents: Documents = api.client._transport.app.state.executor._documents  # type: ignore[attr-defined]
    # a comment leaves room for the plans of two combinations with one field each
    text = f"{MANY} #"
    text += "x" * (CACHED_DOCUMENT_CHARACTERS - len(text) - 20)
    of_one_field = [it for it in COMBINATIONS if sum(it.values()) == 1][:4]
    costs = [(await api(text, None, **it)).body["extensions"]["cost"]["actual"] for it in of_one_field]
    assert costs == [0, 0, 1, 1]
    assert documents._cache.weight == sum(len(it.text) for it in documents._cache._documents.values()) + 18


async def send(port: int, query: str, variables: dict[str, Any]) -> bytes:
    """Send an operation over a new connection. Return the status."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = f"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        return (await reader.read()).split(None, 2)[1]
    finally:
        writer.close()


async def test_many_plans_delay_another_request_by_few_of_them(address: str, slowly_planned: list[float]) -> None:
    async with asyncio.timeout(6 * TIMEOUT), Service(address, max_waiting=100) as service:
        assert await send(service.port, MANY, COMBINATIONS[0]) == b"200"
        assert await send(service.port, "{ __typename }", {}) == b"200"
        many = [asyncio.create_task(send(service.port, MANY, it)) for it in COMBINATIONS[1:60]]
        delays = []
        for _ in range(10):
            before = len(slowly_planned)
            assert await send(service.port, "{ __typename }", {}) == b"200"
            delays.append(len(slowly_planned) - before)
        assert set(await asyncio.gather(*many)) == {b"200"}
    # others are planned meanwhile, but not all of them first
    assert max(delays) <= 4, delays


async def test_only_a_plan_that_is_not_kept_waits_for_its_turn(address: str) -> None:
    async with Service(address, max_waiting=0) as service:
        assert await send(service.port, MANY, COMBINATIONS[0]) == b"200"
        async with service.app.state.parse_admission.slot(1, "another"):
            assert await send(service.port, MANY, COMBINATIONS[0]) == b"200"
            assert await send(service.port, MANY, COMBINATIONS[1]) == b"503"
            # with invalid variables there is nothing to plan
            assert await send(service.port, MANY, {}) == b"200"
        assert await send(service.port, MANY, COMBINATIONS[1]) == b"200"


def large_document(number: int) -> str:
    """Return a document with many fragments, which takes a tenth of a second to validate."""
    fields = "uid name owner status version label validFrom domain { name } upstream(first: 5) { nodes { uid label } }"
    spreads = " ".join(f"...f{index}" for index in range(45))
    fragments = " ".join(f"fragment f{index} on Product {{ {fields} }}" for index in range(45))
    return f"query q{number} {{ products(first: 1) {{ nodes {{ {spreads} }} }} }} {fragments}"


async def test_a_new_document_keeps_the_event_loop_for_moments(address: str) -> None:
    async with Service(address) as service:
        # the first documents wait for what is computed once
        for number in range(2):
            assert await send(service.port, large_document(number), {}) == b"200"
        longest: list[float] = []
        # Processors that share a core slow each other down: one good answer suffices.
        while len(longest) < 6 and min(longest, default=1.0) > LONGEST_TURN:
            gc.collect()
            turns = Turns()
            assert await send(service.port, large_document(10 + len(longest)), {}) == b"200"
            turns.stop()
            longest.append(max(turns.seconds))
    assert min(longest) <= LONGEST_TURN, longest


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that were parsed."""
    texts: list[str] = []
    parse = Documents._parse

    def noting_parse(documents: Documents, text: str, tokens: int) -> PreparedDocument:
        texts.append(text)
        return parse(documents, text, tokens)

    monkeypatch.setattr(Documents, "_parse", noting_parse)
    return texts


@pytest.fixture
def wait_for_arrivals(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Awaitable[None]]:
    """A function that waits until so many operations have arrived."""
    arrivals: list[None] = []
    prepare_known = Executor.prepare_known

    def noting_prepare_known(*arguments: Any) -> Any:
        arrivals.append(None)
        return prepare_known(*arguments)

    async def wait(number: int) -> None:
        async def have_arrived() -> bool:
            return len(arrivals) == number

        await wait_until(have_arrived)

    monkeypatch.setattr(Executor, "prepare_known", noting_prepare_known)
    return wait


@pytest.mark.parametrize(
    ("query", "read_again"),
    [
        (f"{{ __typename }} #{COMMENT}", 0),
        (f"{{ nothing }} #{COMMENT}", 1),
        ("{ __typename small: __typename }", 0),
    ],
    ids=["large", "invalid", "small"],
)
async def test_a_new_text_that_many_send_at_once_is_read_once(
    address: str,
    parsed: list[str],
    planned: list[float],
    wait_for_arrivals: Callable[[int], Awaitable[None]],
    query: str,
    read_again: int,
) -> None:
    async with asyncio.timeout(3 * TIMEOUT), Service(address, max_waiting=5) as service:
        async with service.app.state.parse_admission.slot(1, "another"):
            many = [asyncio.create_task(send(service.port, query, {})) for _ in range(60)]
            await wait_for_arrivals(60)
        assert await asyncio.gather(*many) == [b"200"] * 60
        assert parsed.count(query) == 1
        assert len(planned) <= 1
        # without the requests, what is not cached is not kept
        assert await send(service.port, query, {}) == b"200"
        assert parsed.count(query) == 1 + read_again


async def test_a_plan_that_many_need_at_once_is_compiled_once(
    address: str, planned: list[float], wait_for_arrivals: Callable[[int], Awaitable[None]]
) -> None:
    async with asyncio.timeout(3 * TIMEOUT), Service(address, max_waiting=2) as service:
        assert await send(service.port, MANY, COMBINATIONS[0]) == b"200"
        async with service.app.state.parse_admission.slot(1, "another"):
            many = [asyncio.create_task(send(service.port, MANY, COMBINATIONS[1 + it % 2])) for it in range(60)]
            await wait_for_arrivals(61)
        assert await asyncio.gather(*many) == [b"200"] * 60
        assert len(planned) == 3


async def test_a_client_that_leaves_does_not_end_the_reading_for_others(
    address: str, parsed: list[str], wait_for_arrivals: Callable[[int], Awaitable[None]]
) -> None:
    async with asyncio.timeout(3 * TIMEOUT), Service(address, max_waiting=1) as service:
        async with service.app.state.parse_admission.slot(1, "another"):
            async with service.abandoned_request(large_document(0)):
                await wait_for_arrivals(1)
                stays = asyncio.create_task(send(service.port, large_document(0), {}))
                await wait_for_arrivals(2)
            # there is no room for another one as long as it waits
            assert await send(service.port, large_document(1), {}) == b"503"
        assert await stays == b"200"
        assert parsed.count(large_document(0)) == 1


async def test_a_new_document_leaves_no_garbage(api: Api) -> None:
    documents: Documents = api.client._transport.app.state.executor._documents  # type: ignore[attr-defined]
    documents.read(large_document(0))
    gc.collect()
    document = documents.read(large_document(1))
    assert document.errors == []
    # the next allocations begin the collection of the cycles that validation leaves
    assert len([[number] for number in range(1_000)]) == 1_000
    # what others allocated meanwhile is little
    assert gc.collect() < 1_000


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{ __typename } #" + "x" * CACHED_DOCUMENT_CHARACTERS, id="too large to be cached"),
        pytest.param("{ a: nothing { __typename } }", id="invalid"),
        pytest.param("{ " + "products { nodes { upstream { " * 9 + "totalCount" + " } } }" * 9 + " }", id="too deep"),
        pytest.param("{ " + "a: __typename " * 20 + "}", id="too many aliases"),
        pytest.param(f"{{ {'...f ' * 51} }} fragment f on Query {{ __typename }}", id="too many fragments"),
    ],
)
async def test_a_document_that_is_not_cached_is_freed_with_its_response(api: Api, text: str) -> None:
    async def send() -> None:
        assert (await api(text)).status == 200

    await send()
    gc.collect()
    threshold = gc.get_threshold()
    # by counting references: collections of all objects are rare
    gc.set_threshold(0)
    try:
        before = count_tokens()
        await send()
        assert count_tokens() == before
    finally:
        gc.set_threshold(*threshold)


def count_tokens() -> int:
    """Count the tokens of documents that exist."""
    return sum(type(it) is Token for it in gc.get_objects())

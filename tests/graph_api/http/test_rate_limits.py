"""Rate limits: cost counted per tenant and per credential, in one process or in a Redis that several share."""

import asyncio
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from db.errors import BadInput
from graph_api.http import rate_limits
from graph_api.http.rate_limits import RateLimiter, RateLimitStatus
from graph_api.ingestion import source
from tests.builders import Api
from tests.graph_api.http.test_browsers import serving
from tests.graph_api.http.test_deadline import sending
from tests.graph_api.ingestion.lines import product_lines, to_jsonl
from tests.graph_api.ingestion.load_service import LoadService, summary
from tests.graph_api.records.remote import TIMEOUT, raw_server
from tests.processes import wait_until


def remaining(status: RateLimitStatus) -> dict[str, int]:
    return {it.name: it.remaining for it in status.windows}


async def spend(limiter: RateLimiter, cost: int, tenant_id: int = 1, credential: str = "a") -> RateLimitStatus:
    return await limiter.charge(await limiter.status(tenant_id, credential), cost)


async def test_cost_is_counted_per_tenant_and_per_credential(address: str) -> None:
    limiter = RateLimiter("100/minute", "60/minute")
    assert remaining(await spend(limiter, 30)) == {"tenant": 70, "key": 30}
    assert remaining(await spend(limiter, 50, credential="b")) == {"tenant": 20, "key": 10}
    assert remaining(await limiter.status(1, "c")) == {"tenant": 20, "key": 60}
    # a credential of the same name in another tenant is counted separately
    assert remaining(await limiter.status(2, "a")) == {"tenant": 100, "key": 60}


async def test_admitted_cost_is_charged_in_full_and_an_exceeded_window_blocks_until_it_ends() -> None:
    limiter = RateLimiter("", "10/second")
    first, second = await limiter.status(1, "a"), await limiter.status(1, "a")
    assert first.retry_after == second.retry_after == 0
    await limiter.charge(first, 8)
    after = await limiter.charge(second, 8)
    assert (remaining(after), after.retry_after) == ({"key": 0}, 1)
    assert remaining(await limiter.status(1, "a")) == {"key": 0}
    assert "Rate limit of the key exceeded" in after.error().message

    async def has_ended() -> bool:
        return not (await limiter.status(1, "a")).retry_after

    await wait_until(has_ended)
    # cost beyond the limit is not carried over
    assert remaining(await limiter.status(1, "a")) == {"key": 10}


async def ten_enter(limiters: Sequence[RateLimiter]) -> None:
    """Let ten operations enter at once, and check that those which enter have paid, and get back what they did not use."""
    statuses = [await limiters[number % len(limiters)].status(1, "a") for number in range(10)]
    charges = [await limiters[number % len(limiters)].enter(it, 500) for number, it in enumerate(statuses)]
    assert [it.is_admitted for it in charges] == [True] * 4 + [False] * 6
    assert all(it.status.retry_after for it in charges[4:])
    assert remaining(await limiters[0].status(1, "a")) == {"tenant": 3_100, "key": 0}
    for number, charge in enumerate(charges[:4]):
        await limiters[number % len(limiters)].settle(charge, (0, 7, 500, 600)[number])
    assert remaining(await limiters[0].status(1, "a")) == {"tenant": 3_993, "key": 793}


async def test_operations_enter_with_their_estimated_cost() -> None:
    limiter = RateLimiter("5100/minute", "1900/minute")
    await ten_enter([limiter])


async def test_what_was_charged_to_a_window_that_has_ended_is_not_paid_back_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    limiter, now = RateLimiter("", "100/minute"), 1_000.0
    monkeypatch.setattr("graph_api.http.rate_limits.time.time", lambda: now)
    less, more = [await limiter.enter(await limiter.status(1, "a"), 50) for _ in range(2)]
    now += 61
    await limiter.charge(await limiter.status(1, "a"), 10)
    await limiter.settle(less, 1)
    assert remaining(await limiter.status(1, "a")) == {"key": 90}
    await limiter.settle(more, 55)
    assert remaining(await limiter.status(1, "a")) == {"key": 85}


async def test_a_refund_after_a_sweep_goes_to_the_window_that_was_charged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "_MIN_SWEEP", 10)
    limiter = RateLimiter("", "100/minute")
    # it waits, while others come and go
    waiting = await limiter.status(1, "a")
    for number in range(30):
        await limiter.status(1, f"caller {number}")
    await limiter.charge(await limiter.status(1, "a"), 10)
    charge = await limiter.enter(waiting, 50)
    assert remaining(charge.status) == {"key": 40}
    assert remaining(await limiter.settle(charge, 1)) == remaining(await limiter.status(1, "a")) == {"key": 89}


async def test_an_operation_that_waited_until_an_exceeded_window_ended_enters(monkeypatch: pytest.MonkeyPatch) -> None:
    limiter, now = RateLimiter("", "100/minute"), 1_000.0
    monkeypatch.setattr("graph_api.http.rate_limits.time.time", lambda: now)
    waiting = await limiter.status(1, "a")
    await limiter.charge(await limiter.status(1, "a"), 100)
    assert not (await limiter.enter(waiting, 1)).is_admitted
    now += 61
    assert (await limiter.enter(waiting, 1)).is_admitted


@pytest.mark.api
async def test_ten_at_once_cannot_enter_on_credit(address: str) -> None:
    async with serving(address, key_rate="100/minute", tenant_rate="") as api:
        query = "{ products { nodes { name } } }"
        # 51 are estimated, 1 is used: there are no products
        assert '"key";r=99' in (await api(query)).headers["ratelimit"]
        answers = await asyncio.gather(*(api(query) for _ in range(10)))
        assert Counter(it.status for it in answers) == {200: 2, 429: 8}
        assert all(it.code_and_field == ("RATE_LIMITED", None) for it in answers if it.status == 429)
        # what was not used is there again
        assert '"key";r=96' in (await api(query)).headers["ratelimit"]


async def test_the_status_is_rendered_as_structured_fields() -> None:
    limiter = RateLimiter("20000000/minute", "500/10 seconds")
    assert (await limiter.status(1, "a")).headers == {
        "RateLimit-Policy": '"tenant";q=20000000;w=60, "key";q=500;w=10',
        "RateLimit": '"tenant";r=20000000;t=60, "key";r=500;t=10',
    }
    assert await RateLimiter().status(1, "a") == RateLimitStatus()
    assert RateLimitStatus().headers == {}


@pytest.mark.parametrize("rate", ["x", "5", "5/fortnight", "0/minute", "5/second;100/minute", "-1/minute"])
def test_an_invalid_rate_is_rejected(rate: str) -> None:
    with pytest.raises(ValueError, match="rate"):
        rate_limits.parse_rate(rate)


@pytest.mark.api
async def test_an_exceeded_limit_is_answered_429_with_retry_after(address: str) -> None:
    async with serving(address, key_rate="3/minute", tenant_rate="1000/minute") as api:
        for left in (2, 1, 0):
            answer = await api("{ __typename }")
            assert answer.data == {"__typename": "Query"}
            assert answer.headers["ratelimit-policy"] == '"tenant";q=1000;w=60, "key";q=3;w=60'
            assert re.fullmatch(rf'"tenant";r={997 + left};t=\d+, "key";r={left};t=\d+', answer.headers["ratelimit"])
        # rejected requests are not charged
        for _ in range(2):
            rejected = await api("{ __typename }")
            assert (rejected.status, rejected.code_and_field) == (429, ("RATE_LIMITED", None))
            assert 0 < int(rejected.headers["retry-after"]) <= 60
            assert '"tenant";r=997' in rejected.headers["ratelimit"]
        assert (await api.client.get("/health")).status_code == 200


@pytest.mark.api
async def test_an_invalid_operation_is_charged_and_a_rejected_request_is_not(address: str) -> None:
    async with serving(address, key_rate="100/minute", tenant_rate="", pool_size=1, max_waiting=0) as api:
        app = api.client._transport.app  # type: ignore[attr-defined]
        assert '"key";r=99' in (await api("{ nope }")).headers["ratelimit"]
        async with app.state.admission.slot(2, "other"):
            busy = await api("{ products { totalCount } }")
        assert (busy.status, '"key";r=99' in busy.headers["ratelimit"]) == (503, True)
        invalid_body = await api.client.post("/graphql", content="{", headers={"content-type": "application/json"})
        assert (invalid_body.status_code, '"key";r=99' in invalid_body.headers["ratelimit"]) == (400, True)


@pytest.mark.api
async def test_a_load_is_charged_its_number_of_rows(address: str) -> None:
    async with LoadService(address, key_rate="10/minute") as service:
        assert (await service.post(to_jsonl(product_lines(6))))[0] == 200
        assert (await service.post(to_jsonl(product_lines(6))))[0] == 200
        status, body = await service.post(to_jsonl(product_lines(6)))
        assert (status, body["errors"][0]["extensions"]["code"]) == (429, "RATE_LIMITED")
        assert (await service.send("{ __typename }")).status_code == 429


@pytest.mark.api
@pytest.mark.parametrize("dry_run", [False, True])
async def test_a_load_is_charged_by_batch_and_ends_when_it_exceeds_a_limit(
    address: str, monkeypatch: pytest.MonkeyPatch, *, dry_run: bool
) -> None:
    monkeypatch.setattr(source, "BATCH", 10)
    async with LoadService(address, key_rate="15/minute") as service:
        # the batch that exceeds the limit is written, and the next one is not
        status, body = await service.post(to_jsonl(product_lines(100)), dry_run=str(dry_run).lower())
        (error,) = body.pop("errors")
        assert (status, error["extensions"]["code"], body) == (429, "RATE_LIMITED", summary(20, 0, 0, 0))
        assert re.fullmatch(r"Rate limit of the key exceeded\. Retry in \d+ s\.", error["message"])
        assert await service.count_changes() == (0 if dry_run else 20)
        assert (await service.send("{ __typename }")).status_code == 429


@pytest.mark.api
async def test_bytes_of_a_load_that_are_no_rows_are_charged_while_they_are_received(address: str) -> None:
    async with (
        LoadService(address, key_rate="500/minute") as service,
        sending(service, "/api/v1/ingest", "application/jsonl", 2**40) as (reader, writer),
    ):
        writer.write(b"\n" * 700_000)
        response = await asyncio.wait_for(reader.readuntil(b"}"), TIMEOUT)
        assert response.startswith(b"HTTP/1.1 429 ")
        assert re.search(rb"\r\nratelimit: .*\r\nretry-after: [1-9]\d?\r\n", response, re.IGNORECASE)
        assert b"Rate limit of the key exceeded" in response
        assert (await service.send("{ __typename }")).status_code == 429


@asynccontextmanager
async def redis(directory: Path) -> AsyncIterator[str]:
    """Run a Redis server. Yield its URL."""
    command = shutil.which("redis-server")
    if command is None:
        pytest.skip("there is no redis-server here")
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory))
    process = await asyncio.create_subprocess_exec(command, *options, stdout=asyncio.subprocess.DEVNULL)

    async def is_listening() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    try:
        await wait_until(is_listening)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.integration
async def test_limiters_that_share_a_redis_share_their_counts(tmp_path: Path) -> None:
    async with redis(tmp_path) as url:
        first, second = RateLimiter("100/minute", "60/minute", url), RateLimiter("100/minute", "60/minute", url)
        assert remaining(await spend(first, 30)) == {"tenant": 70, "key": 30}
        spent = await spend(second, 40)
        assert (remaining(spent), spent.retry_after) == ({"tenant": 30, "key": 0}, (await first.status(1, "a")).retry_after)
        assert 0 < spent.retry_after <= 60
        await first.close()
        await second.close()


@pytest.mark.integration
async def test_operations_of_processes_that_share_a_redis_enter_with_their_estimated_cost(tmp_path: Path) -> None:
    async with redis(tmp_path) as url:
        limiters = [RateLimiter("5100/minute", "1900/minute", url) for _ in range(2)]
        await ten_enter(limiters)
        for limiter in limiters:
            await limiter.close()


@pytest.mark.integration
@pytest.mark.parametrize("ahead", [-3_600, 3_600])
async def test_a_refund_goes_to_the_window_of_redis_that_was_charged(
    ahead: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with redis(tmp_path) as url:
        one, other = RateLimiter("", "100/second", url), RateLimiter("", "100/second", url)
        less, late, more = [await one.enter(await one.status(1, "a"), 20) for _ in range(3)]
        with monkeypatch.context() as clock:
            # the clock of the process is set meanwhile, and says nothing about the window
            now = time.time() + ahead
            clock.setattr(time, "time", lambda: now)
            assert remaining(await one.settle(less, 1)) == remaining(await other.status(1, "a")) == {"key": 59}

            async def has_ended() -> bool:
                return remaining(await other.status(1, "a")) == {"key": 100}

            await wait_until(has_ended)
            # a window that has ended is not begun anew by a refund
            assert remaining(await one.settle(late, 0)) == {"key": 100}
            await spend(other, 50)
            assert remaining(await one.settle(late, 0)) == {"key": 50}
            assert remaining(await one.settle(more, 25)) == remaining(await other.status(1, "a")) == {"key": 45}
        await one.close()
        await other.close()


@pytest.mark.api
@pytest.mark.integration
async def test_requests_are_admitted_while_redis_is_unavailable_and_counted_again_after(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limits, "RETRY_INTERVAL", 0)
    async with redis(tmp_path) as url, serving(address, redis_url=url, key_rate="10/minute") as api:
        assert '"key";r=9' in (await api("{ __typename }")).headers["ratelimit"]
        limiter: RateLimiter = api.client._transport.app.state.rate_limiter  # type: ignore[attr-defined]
        pause = await asyncio.create_subprocess_exec("redis-cli", "-u", url, "CLIENT", "PAUSE", "1000", stdout=-3)
        await pause.wait()
        with structlog.testing.capture_logs() as logs:
            assert (await api("{ __typename }")).data == {"__typename": "Query"}
        assert "rate limits unavailable" in {it["event"] for it in logs}

        async def is_available() -> bool:
            return bool((await limiter.status(1, "anonymous")).windows)

        await wait_until(is_available)
        assert '"key";r=' in (await api("{ __typename }")).headers["ratelimit"]


async def test_a_redis_that_does_not_answer_is_not_tried_for_each_request() -> None:
    connections = 0

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read()

    async with raw_server(silent) as port:
        limiter = RateLimiter("100/minute", "60/minute", f"redis://127.0.0.1:{port}")
        started = time.monotonic()
        with structlog.testing.capture_logs() as logs:
            for _ in range(100):
                assert await spend(limiter, 1) == RateLimitStatus()
        assert time.monotonic() - started < TIMEOUT
        assert [it["event"] for it in logs] == ["rate limits unavailable"]
        assert connections == 1
        await limiter.close()


def test_a_redis_url_needs_the_redis_client(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "redis"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(BadInput, match=r"headwater\[redis\]"):
        RateLimiter(redis_url="redis://127.0.0.1")


@pytest.mark.api
async def test_without_limits_there_are_no_rate_limit_headers(address: str) -> None:
    async with serving(address, tenant_rate="", key_rate="") as api:
        answer: Any = await api("{ __typename }")
        assert not [name for name in answer.headers if name.startswith("ratelimit")]


async def test_the_default_limits_are_in_the_headers(api: Api) -> None:
    assert (await api("{ __typename }")).headers["ratelimit-policy"] == '"tenant";q=6000000;w=60, "key";q=2000000;w=60'


@pytest.mark.parametrize(("tenant_rate", "key_rate"), [("10/minute", ""), ("", "10/minute"), ("", "")])
async def test_callers_that_are_gone_take_no_memory(tenant_rate: str, key_rate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    limiter = RateLimiter(tenant_rate, key_rate)
    now = time.time()
    for number in range(5_000):
        # each caller spends once, and the window of the tenant lives on
        monkeypatch.setattr(time, "time", lambda number=number: now + (60 * number if key_rate else 0))
        await limiter.charge(await limiter.status(1, f"caller {number}"), 1)
    windows = limiter._own_windows
    assert len(windows._statuses) + len(windows._windows) <= 2_500

"""Rate limits: what is spent is counted for each tenant and credential, in one process or in a Redis that several share."""

import asyncio
import re
import shutil
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from db.errors import BadInput
from graph_api.http import rate_limits as counting
from graph_api.http.rate_limits import RateLimiter, RateLimitStatus
from tests.builders import Api
from tests.graph_api.http.test_browsers import serving
from tests.graph_api.ingestion.lines import product_lines, to_jsonl
from tests.graph_api.ingestion.load_service import LoadService
from tests.graph_api.records.remote import PATIENCE, raw
from tests.processes import wait_until


def left(standing: RateLimitStatus) -> dict[str, int]:
    return {it.name: it.remaining for it in standing.windows}


async def spend(rates: RateLimiter, cost: int, tenant_id: int = 1, who: str = "a") -> RateLimitStatus:
    return await rates.charge(await rates.status(tenant_id, who), cost)


async def test_a_tenant_and_each_credential_in_it_are_counted(address: str) -> None:
    rates = RateLimiter("100/minute", "60/minute")
    assert left(await spend(rates, 30)) == {"tenant": 70, "key": 30}
    assert left(await spend(rates, 50, who="b")) == {"tenant": 20, "key": 10}
    assert left(await rates.status(1, "c")) == {"tenant": 20, "key": 60}
    # one of the same name in another tenant is another
    assert left(await rates.status(2, "a")) == {"tenant": 100, "key": 60}


async def test_what_was_let_in_is_charged_in_full_and_then_nothing_is_let_in_until_the_window_ends() -> None:
    rates = RateLimiter("", "10/second")
    first, second = await rates.status(1, "a"), await rates.status(1, "a")
    assert first.retry_after == second.retry_after == 0
    await rates.charge(first, 8)
    after = await rates.charge(second, 8)
    assert (left(after), after.retry_after) == ({"key": 0}, 1)
    assert left(await rates.status(1, "a")) == {"key": 0}
    assert "Rate limit of the key exceeded" in after.error().message

    async def ended() -> bool:
        return not (await rates.status(1, "a")).retry_after

    await wait_until(ended)
    # what was error is not carried over
    assert left(await rates.status(1, "a")) == {"key": 10}


async def test_standing_is_written_as_structured_fields() -> None:
    rates = RateLimiter("20000000/minute", "500/10 seconds")
    assert (await rates.status(1, "a")).headers == {
        "RateLimit-Policy": '"tenant";q=20000000;w=60, "key";q=500;w=10',
        "RateLimit": '"tenant";r=20000000;t=60, "key";r=500;t=10',
    }
    assert await RateLimiter().status(1, "a") == RateLimitStatus()
    assert RateLimitStatus().headers == {}


@pytest.mark.parametrize("rate", ["x", "5", "5/fortnight", "0/minute", "5/second;100/minute", "-1/minute"])
def test_what_is_no_rate_is_refused(rate: str) -> None:
    with pytest.raises(ValueError, match="rate"):
        counting.parse_rate(rate)


@pytest.mark.api
async def test_whoever_has_spent_all_is_refused_and_told_when_to_come_again(address: str) -> None:
    async with serving(address, key_rate="3/minute", tenant_rate="1000/minute") as api:
        for remaining in (2, 1, 0):
            answer = await api("{ __typename }")
            assert answer.data == {"__typename": "Query"}
            assert answer.headers["ratelimit-policy"] == '"tenant";q=1000;w=60, "key";q=3;w=60'
            assert re.fullmatch(rf'"tenant";r={997 + remaining};t=\d+, "key";r={remaining};t=\d+', answer.headers["ratelimit"])
        # a body that is never read costs nothing either
        for _ in range(2):
            refused = await api("{ __typename }")
            assert (refused.status, refused.code_and_field) == (429, ("RATE_LIMITED", None))
            assert 0 < int(refused.headers["retry-after"]) <= 60
            assert '"tenant";r=997' in refused.headers["ratelimit"]
        assert (await api.client.get("/health")).status_code == 200


@pytest.mark.api
async def test_what_fails_is_charged_and_what_was_not_let_in_is_not(address: str) -> None:
    async with serving(address, key_rate="100/minute", tenant_rate="", pool_size=1, max_waiting=0) as api:
        app = api.client._transport.app  # type: ignore[attr-defined]
        assert '"key";r=99' in (await api("{ nope }")).headers["ratelimit"]
        async with app.state.admission.slot(2, "other"):
            busy = await api("{ products { totalCount } }")
        assert (busy.status, '"key";r=99' in busy.headers["ratelimit"]) == (503, True)
        unread = await api.client.post("/graphql", content="{", headers={"content-type": "application/json"})
        assert (unread.status_code, '"key";r=99' in unread.headers["ratelimit"]) == (400, True)


@pytest.mark.api
async def test_a_load_is_charged_by_its_rows(address: str) -> None:
    async with LoadService(address, key_rate="10/minute") as service:
        assert (await service.post(to_jsonl(product_lines(6))))[0] == 200
        assert (await service.post(to_jsonl(product_lines(6))))[0] == 200
        status, body = await service.post(to_jsonl(product_lines(6)))
        assert (status, body["errors"][0]["extensions"]["code"]) == (429, "RATE_LIMITED")
        assert (await service.answer("{ __typename }")).status_code == 429


@asynccontextmanager
async def redis(directory: Path) -> AsyncIterator[str]:
    """A Redis of the test's own; gives its address."""
    command = shutil.which("redis-server")
    if command is None:
        pytest.skip("there is no redis-server here")
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory))
    process = await asyncio.create_subprocess_exec(command, *options, stdout=asyncio.subprocess.DEVNULL)

    async def listens() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    try:
        await wait_until(listens)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        await process.wait()


async def test_processes_that_share_a_redis_count_together(tmp_path: Path) -> None:
    async with redis(tmp_path) as url:
        one, other = RateLimiter("100/minute", "60/minute", url), RateLimiter("100/minute", "60/minute", url)
        assert left(await spend(one, 30)) == {"tenant": 70, "key": 30}
        spent = await spend(other, 40)
        assert (left(spent), spent.retry_after) == ({"tenant": 30, "key": 0}, (await one.status(1, "a")).retry_after)
        assert 0 < spent.retry_after <= 60
        await one.close()
        await other.close()


@pytest.mark.api
async def test_a_redis_that_goes_away_stops_nobody_and_counts_again_when_it_is_back(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "RETRY_INTERVAL", 0)
    async with redis(tmp_path) as url, serving(address, redis_url=url, key_rate="10/minute") as api:
        assert '"key";r=9' in (await api("{ __typename }")).headers["ratelimit"]
        rates: RateLimiter = api.client._transport.app.state.rate_limiter  # type: ignore[attr-defined]
        pause = await asyncio.create_subprocess_exec("redis-cli", "-u", url, "CLIENT", "PAUSE", "1000", stdout=-3)
        await pause.wait()
        with structlog.testing.capture_logs() as logged:
            assert (await api("{ __typename }")).data == {"__typename": "Query"}
        assert "rate limits unavailable" in {it["event"] for it in logged}

        async def back() -> bool:
            return bool((await rates.status(1, "anonymous")).windows)

        await wait_until(back)
        assert '"key";r=' in (await api("{ __typename }")).headers["ratelimit"]


async def test_a_redis_that_is_silent_is_not_waited_for_again_and_again() -> None:
    connections = 0

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read()

    async with raw(silent) as port:
        rates = RateLimiter("100/minute", "60/minute", f"redis://127.0.0.1:{port}")
        began = time.monotonic()
        with structlog.testing.capture_logs() as logged:
            for _ in range(100):
                assert await spend(rates, 1) == RateLimitStatus()
        assert time.monotonic() - began < PATIENCE
        assert [it["event"] for it in logged] == ["rate limits unavailable"]
        assert connections == 1
        await rates.close()


def test_a_redis_needs_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "redis"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(BadInput, match=r"headwater\[redis\]"):
        RateLimiter(redis_url="redis://127.0.0.1")


@pytest.mark.api
async def test_a_service_without_limits_tells_of_none(address: str) -> None:
    async with serving(address, tenant_rate="", key_rate="") as api:
        answer: Any = await api("{ __typename }")
        assert not [name for name in answer.headers if name.startswith("ratelimit")]


async def test_the_default_limits_are_told(api: Api) -> None:
    assert (await api("{ __typename }")).headers["ratelimit-policy"] == '"tenant";q=6000000;w=60, "key";q=2000000;w=60'

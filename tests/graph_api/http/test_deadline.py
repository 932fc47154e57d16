"""Time limits: an operation that exceeds one is cancelled in the database, too, and its connection serves the next request."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import pytest

from db.database import Database
from db.errors import Unavailable
from db.sql import text
from graph_api.ingestion import source
from tests.graph_api.http.test_disconnect import REGISTER, TIMEOUT, Service, locked
from tests.graph_api.ingestion.lines import product_lines, to_jsonl
from tests.graph_api.ingestion.load_service import LoadService, summary
from tests.processes import wait_until

pytestmark = pytest.mark.api

LIST = "{ products { nodes { name } } }"
LIMIT = 0.3


async def wait_for_returned_connections(service: Service) -> None:
    """Wait until every connection is back in the pool."""
    database = service.app.state.database

    async def all_returned() -> bool:
        return not database.connections_in_use

    await wait_until(all_returned)


def code_of(body: dict[str, Any]) -> str:
    (error,) = body["errors"]
    return str(error["extensions"]["code"])


@pytest.mark.parametrize("query", [pytest.param(LIST, id="a query"), pytest.param(REGISTER, id="a mutation")])
async def test_a_timed_out_operation_is_cancelled_in_the_database(address: str, query: str) -> None:
    async with Service(address, request_timeout=LIMIT) as service:
        async with locked(address, "product_version") as wait_for_active:
            answer = await service.send(query)
            assert (answer.status_code, code_of(answer.json())) == (504, "TIMEOUT")
            assert "data" not in answer.json()
            assert ("idempotencyKey" in answer.json()["errors"][0]["message"]) == (query is REGISTER)
            # the lock is still held, so only a cancelled statement ends
            await wait_for_active(0)
            await wait_for_returned_connections(service)
        assert (await service.execute(LIST))["data"] == {"products": {"nodes": []}}


@pytest.mark.parametrize(
    ("settings", "status", "code"),
    [
        pytest.param({"request_timeout": LIMIT}, 504, "TIMEOUT", id="request timeout"),
        pytest.param({"pool_timeout": LIMIT}, 503, "UNAVAILABLE", id="slot timeout"),
    ],
)
async def test_waiting_for_a_slot_times_out(address: str, settings: dict[str, float], status: int, code: str) -> None:
    async with Service(address, **settings) as service:
        async with service.app.state.admission.slot(2, "other"):
            answer = await service.send(LIST)
        assert (answer.status_code, code_of(answer.json())) == (status, code)
        assert answer.headers.get("retry-after") == ("1" if status == 503 else None)
        assert (await service.send(LIST)).status_code == 200


@pytest.mark.parametrize("setting", ["lock_timeout", "statement_timeout"])
async def test_lock_and_statement_timeouts_are_errors_of_the_operation(address: str, setting: str) -> None:
    async with Service(address, **{setting: LIMIT}) as service:
        async with locked(address, "product_version"):
            answer = await service.send(LIST)
        # the operation was executed, so its error comes with status 200
        assert (answer.status_code, code_of(answer.json())) == (200, "TIMEOUT")
        assert (await service.execute(LIST))["data"] == {"products": {"nodes": []}}


async def test_an_idle_transaction_is_ended_by_the_database(address: str) -> None:
    database = Database(address, pool_size=1, statement_timeout=LIMIT)
    observer = await asyncpg.connect(address)
    idle = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'headwater'"

    async def has_ended() -> bool:
        return bool(await observer.fetchval(idle) == 0)

    async def stay_idle() -> None:
        async with database.snapshot(1) as connection:
            await wait_until(has_ended)
            await connection.fetch(text("SELECT 1 WHERE CAST(:tenant AS bigint) = 1"))

    try:
        with pytest.raises(Unavailable):
            await stay_idle()
    finally:
        await observer.close()
        await database.close()


@asynccontextmanager
async def sending(
    service: Service, path: str, media_type: str, length: int = 1000
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect and send a request head with a Content-Length."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n"
    writer.write(head.encode())
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def response_to_drops(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[bytes, float]:
    """Send a space every hundredth of a second. Return the response, and the seconds that it took."""

    async def drip() -> None:
        while not writer.is_closing():
            writer.write(b" ")
            await asyncio.sleep(0.01)

    started = time.monotonic()
    dripping = asyncio.create_task(drip())
    response = b""
    async with asyncio.timeout(TIMEOUT):
        # bytes that the service never reads may end the connection with a reset
        with suppress(ConnectionResetError):
            while chunk := await reader.read(4096):
                response += chunk
    dripping.cancel()
    return response, time.monotonic() - started


async def test_a_slow_body_is_rejected_after_its_time_limit(address: str) -> None:
    async with (
        Service(address, body_timeout=LIMIT) as service,
        sending(service, "/graphql", "application/json") as (reader, writer),
    ):
        response, duration = await response_to_drops(reader, writer)
        assert response.startswith(b"HTTP/1.1 408 ")
        assert b'"code":"TIMEOUT"' in response
        assert LIMIT <= duration < LIMIT + 2
        assert (await service.send(LIST)).status_code == 200


async def test_a_load_without_progress_is_ended_and_reports_its_result(address: str) -> None:
    async with LoadService(address, body_timeout=LIMIT) as service:
        async with sending(service, "/api/v1/ingest", "application/jsonl") as (reader, writer):
            writer.write(to_jsonl(product_lines(1)))
            response = await asyncio.wait_for(reader.read(), TIMEOUT)
        assert response.startswith(b"HTTP/1.1 408 ")
        assert b'"code":"TIMEOUT"' in response
        assert b'"created":0' in response
        await wait_for_returned_connections(service)
        # its slot is free again
        assert await service.post(to_jsonl(product_lines(1))) == (200, summary(1, 0, 0, 0))


async def test_a_slow_load_above_the_least_rate_is_not_ended(address: str) -> None:
    content = to_jsonl(product_lines(3))

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 100):
            await asyncio.sleep(LIMIT / 2)
            yield content[start : start + 100]

    async with LoadService(address, body_timeout=LIMIT, min_load_rate=300) as service:
        assert await service.post(chunks()) == (200, summary(3, 0, 0, 0))


async def test_a_load_below_the_least_rate_is_ended_however_fast_it_began(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "BATCH", 50)
    content = to_jsonl(product_lines(55))
    async with (
        LoadService(address, body_timeout=LIMIT, min_load_rate=1_000) as service,
        sending(service, "/api/v1/ingest", "application/jsonl", 2 * len(content)) as (reader, writer),
    ):
        writer.write(content)
        response, duration = await response_to_drops(reader, writer)
        assert response.startswith(b"HTTP/1.1 408 ")
        assert b"less than 1000 bytes a second" in response
        assert b'"created":50' in response
        # at this rate, the first lines alone would take longer
        assert LIMIT <= duration < len(content) / 1_000


async def test_a_dry_run_ends_with_its_transaction_after_the_time_of_an_operation(address: str) -> None:
    async with LoadService(address, request_timeout=LIMIT) as service:
        async with sending(service, "/api/v1/ingest?dry_run=true", "application/jsonl") as (reader, writer):
            response, duration = await response_to_drops(reader, writer)
        assert response.startswith(b"HTTP/1.1 504 ")
        assert b"The dry run took longer than 0.3 s" in response
        assert b'"code":"TIMEOUT"' in response
        assert LIMIT <= duration < LIMIT + 2
        await wait_for_returned_connections(service)
        # another load takes longer, for it has no transaction while it waits
        assert await service.post(to_jsonl(product_lines(1))) == (200, summary(1, 0, 0, 0))


async def test_the_maximum_of_loads_is_enforced_and_leaves_slots_for_operations(address: str) -> None:
    async with LoadService(address, max_loads=2, pool_timeout=LIMIT) as service:
        database = service.app.state.database

        async def is_running() -> bool:
            # a dry run holds a connection while it waits for its client
            return bool(database.connections_in_use == 1)

        async with sending(service, "/api/v1/ingest?dry_run=true", "application/jsonl"):
            await wait_until(is_running)
            # the last slot is reserved for other tenants
            status, body = await service.post(to_jsonl(product_lines(1)))
            assert (status, code_of(body)) == (503, "UNAVAILABLE")
            async with service.app.state.load_admission.slot(2, "other"):
                assert (await service.send(LIST)).status_code == 200
                status, body = await service.post(to_jsonl(product_lines(1)))
                assert (status, code_of(body)) == (503, "UNAVAILABLE")
        await wait_for_returned_connections(service)
        assert await service.post(to_jsonl(product_lines(1))) == (200, summary(1, 0, 0, 0))


async def test_loads_wait_for_a_slot_and_those_of_a_tenant_without_one_precede(address: str) -> None:
    async with LoadService(address, max_loads=3) as service:
        slots = service.app.state.load_admission
        order: list[str] = []

        async def busy_load() -> None:
            async with slots.slot(2, "a second load"):
                order.append("a tenant with a load")

        async def load() -> None:
            assert await service.post(to_jsonl(product_lines(1))) == (200, summary(1, 0, 0, 0))
            order.append("a tenant without")

        async with slots.slot(2, "a load"), slots.slot(3, "a load"):
            async with slots.slot(4, "a load"):
                loads = [asyncio.create_task(it()) for it in (busy_load, load)]

                async def both_wait() -> bool:
                    return len(slots._waiters) == len(loads)

                await wait_until(both_wait)
            await loads[1]
        await loads[0]
        assert order == ["a tenant without", "a tenant with a load"]

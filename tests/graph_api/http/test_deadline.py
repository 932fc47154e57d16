"""Time: what takes too long is ended, on the server too, and its connection serves the next."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from db.database import Database
from db.errors import Unavailable
from tests.graph_api.http.test_disconnect import PATIENCE, REGISTER, Service, locked
from tests.graph_api.ingestion.lines import product_lines, to_jsonl
from tests.graph_api.ingestion.load_service import LoadService, summary
from tests.processes import wait_until

pytestmark = pytest.mark.api

LIST = "{ products { nodes { name } } }"
SOON = 0.3


async def returned(service: Service) -> None:
    """Wait until every connection is back in the pool."""
    pool = service.app.state.database.engine.pool

    async def none() -> bool:
        return not pool.checkedout()

    await wait_until(none)


def code_of(body: dict[str, Any]) -> str:
    (error,) = body["errors"]
    return str(error["extensions"]["code"])


@pytest.mark.parametrize("query", [pytest.param(LIST, id="a query"), pytest.param(REGISTER, id="a mutation")])
async def test_what_takes_longer_than_a_request_may_is_ended_on_the_server_too(address: str, query: str) -> None:
    async with Service(address, request_timeout=SOON) as service:
        async with locked(address, "product_version") as busy:
            answer = await service.answer(query)
            assert (answer.status_code, code_of(answer.json())) == (504, "TIMEOUT")
            assert "data" not in answer.json()
            assert ("idempotencyKey" in answer.json()["errors"][0]["message"]) == (query is REGISTER)
            # the lock is held still: only a cancelled statement ends
            await busy(0)
            await returned(service)
        assert (await service.ask(LIST))["data"] == {"products": {"nodes": []}}


@pytest.mark.parametrize(
    ("settings", "status", "code"),
    [
        pytest.param({"request_timeout": SOON}, 504, "TIMEOUT", id="longer than a request may take"),
        pytest.param({"pool_timeout": SOON}, 503, "UNAVAILABLE", id="longer than a turn is waited for"),
    ],
)
async def test_waiting_for_a_turn_ends(address: str, settings: dict[str, float], status: int, code: str) -> None:
    async with Service(address, **settings) as service:
        async with service.app.state.admission.slot(2, "other"):
            answer = await service.answer(LIST)
        assert (answer.status_code, code_of(answer.json())) == (status, code)
        assert answer.headers.get("retry-after") == ("1" if status == 503 else None)
        assert (await service.answer(LIST)).status_code == 200


@pytest.mark.parametrize("setting", ["lock_timeout", "statement_timeout"])
async def test_a_statement_waits_for_a_lock_and_runs_as_long_as_it_may(address: str, setting: str) -> None:
    async with Service(address, **{setting: SOON}) as service:
        async with locked(address, "product_version"):
            answer = await service.answer(LIST)
        # it was run, and is answered as what failed within it
        assert (answer.status_code, code_of(answer.json())) == (200, "TIMEOUT")
        assert (await service.ask(LIST))["data"] == {"products": {"nodes": []}}


async def test_a_transaction_in_which_nothing_happens_is_ended_by_the_server(address: str) -> None:
    database = Database(address, pool_size=1, statement_timeout=SOON)
    observer = await asyncpg.connect(address)
    idle = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'headwater'"

    async def ended() -> bool:
        return bool(await observer.fetchval(idle) == 0)

    async def nothing() -> None:
        async with database.snapshot(1) as connection:
            await wait_until(ended)
            await connection.fetch(text("SELECT 1 WHERE CAST(:tenant AS bigint) = 1"))

    try:
        with pytest.raises(Unavailable):
            await nothing()
    finally:
        await observer.close()
        await database.close()


@asynccontextmanager
async def sending(
    service: Service, path: str, media_type: str
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client that announces a body of a thousand bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {media_type}\r\nContent-Length: 1000\r\n\r\n"
    writer.write(head.encode())
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def test_a_body_that_drips_is_not_waited_for(address: str) -> None:
    async with (
        Service(address, body_timeout=SOON) as service,
        sending(service, "/graphql", "application/json") as (reader, writer),
    ):

        async def drip() -> None:
            while not writer.is_closing():
                writer.write(b" ")
                await asyncio.sleep(0.01)

        began = time.monotonic()
        dripping = asyncio.create_task(drip())
        # it is the end of the connection that ends this
        told = b""
        async with asyncio.timeout(PATIENCE):
            # what dripped in meanwhile is never read, and so the end may be a reset
            with suppress(ConnectionResetError):
                while some := await reader.read(4096):
                    told += some
        took = time.monotonic() - began
        dripping.cancel()
        assert told.startswith(b"HTTP/1.1 408 ")
        assert b'"code":"TIMEOUT"' in told
        assert SOON <= took < SOON + 2
        assert (await service.answer(LIST)).status_code == 200


async def test_a_load_whose_client_is_silent_ends_and_says_what_it_kept(address: str) -> None:
    async with LoadService(address, body_timeout=SOON) as service:
        async with sending(service, "/api/v1/ingest", "application/jsonl") as (reader, writer):
            writer.write(to_jsonl(product_lines(1)))
            told = await asyncio.wait_for(reader.read(), PATIENCE)
        assert told.startswith(b"HTTP/1.1 408 ")
        assert b'"code":"TIMEOUT"' in told
        assert b'"created":0' in told
        await returned(service)
        # it has left its place, too
        assert await service.post(to_jsonl(product_lines(1))) == (200, summary(1, 0, 0, 0))


async def test_a_load_whose_client_is_slow_is_not_silent(address: str) -> None:
    content = to_jsonl(product_lines(3))

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 100):
            await asyncio.sleep(SOON / 2)
            yield content[start : start + 100]

    async with LoadService(address, body_timeout=SOON) as service:
        assert await service.post(pieces()) == (200, summary(3, 0, 0, 0))


async def test_as_many_loads_as_may_leave_room_for_operations_and_one_more_is_refused(address: str) -> None:
    async with LoadService(address, max_loads=2) as service:
        pool = service.app.state.database.engine.pool

        async def begun() -> bool:
            # it holds a connection while it waits for its client
            return bool(pool.checkedout() == 1)

        async with sending(service, "/api/v1/ingest?dry_run=true", "application/jsonl"):
            await wait_until(begun)
            # the last place is for other tenants
            status, body = await service.post(to_jsonl(product_lines(1)))
            assert (status, code_of(body)) == (503, "UNAVAILABLE")
            async with service.app.state.load_admission.slot(2, "other"):
                assert (await service.answer(LIST)).status_code == 200
                status, body = await service.post(to_jsonl(product_lines(1)))
                assert (status, code_of(body)) == (503, "UNAVAILABLE")
        await returned(service)
        assert await service.post(to_jsonl(product_lines(1))) == (200, summary(1, 0, 0, 0))

"""Disconnect of a client: its statement is cancelled in the database, and its connection serves the next request."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any, Self

import asyncpg
import httpx
import pytest
import structlog
import uvicorn

from db.computation import Computation
from db.lineage import analytics
from db.lineage import path as paths
from graph_api.app import create_app
from graph_api.http.deadline import CLIENT_CLOSED_REQUEST
from graph_api.settings import Settings
from schema.execution import loading
from schema.lineage import walk as walks

pytestmark = pytest.mark.api

TIMEOUT = 10

_ACTIVE_STATEMENTS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'headwater' AND state = 'active' AND pid <> pg_backend_pid()
"""


class Service:
    """The service in this process, with a real socket."""

    def __init__(self, address: str, **settings: Any) -> None:
        self.app = create_app(Settings(database_url=address, **{"pool_size": 1, **settings}), require_auth=False)
        self._server = uvicorn.Server(uvicorn.Config(self.app, port=0, log_config=None, loop="asyncio"))

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._server.serve())
        async with asyncio.timeout(TIMEOUT):
            while not self._server.started:  # noqa: ASYNC110
                await asyncio.sleep(0)
        self.port: int = self._server.servers[0].sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.should_exit = True
        await self._running

    async def execute(self, query: str) -> Any:
        """Send an operation, and return the JSON of the response."""
        return (await self.send(query)).json()

    async def send(self, query: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.post(f"http://127.0.0.1:{self.port}/graphql", json={"query": query}, timeout=TIMEOUT)

    @asynccontextmanager
    async def abandoned_request(self, query: str) -> AsyncIterator[None]:
        """Send an operation, and disconnect at the end of the block without reading the response."""
        body = json.dumps({"query": query}).encode()
        head = (
            f"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(head.encode() + body)
        await writer.drain()
        yield
        writer.transport.abort()


@pytest.fixture
async def service(address: str) -> AsyncIterator[Service]:
    async with Service(address) as service:
        yield service


@asynccontextmanager
async def locked(address: str, table: str) -> AsyncIterator[Callable[[int], Awaitable[None]]]:
    """Lock a table against reads. Yield a function that waits for a number of active statements of the service."""
    holder, observer = await asyncpg.connect(address), await asyncpg.connect(address)

    async def wait_for_active(count: int) -> None:
        async with asyncio.timeout(TIMEOUT):
            while await observer.fetchval(_ACTIVE_STATEMENTS) != count:  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    try:
        async with holder.transaction():
            await holder.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield wait_for_active
    finally:
        await holder.close()
        await observer.close()


REGISTER = """
  mutation { registerProduct(input: { name: "x", domain: "sales", owner: "ann", schema: {} }) { changed } }
"""


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("{ products { nodes { name } } }", id="a list"),
        pytest.param('{ product(name: "x") { name } }', id="through a loader"),
        pytest.param('{ product(name: "x") { name } products { nodes { name } } }', id="several at once"),
        pytest.param(REGISTER, id="a mutation"),
    ],
)
async def test_a_disconnect_cancels_the_statement(service: Service, address: str, query: str) -> None:
    async with locked(address, "product_version") as wait_for_active:
        async with service.abandoned_request(query):
            await wait_for_active(1)
        # the lock is still held, so only a cancelled statement ends
        await wait_for_active(0)
        database = service.app.state.database
        async with asyncio.timeout(TIMEOUT):
            while database.connections_in_use:  # noqa: ASYNC110
                await asyncio.sleep(0)
    assert (await service.execute("{ products { nodes { name } } }"))["data"] == {"products": {"nodes": []}}


async def test_a_disconnect_ends_the_wait_for_figures(service: Service, address: str) -> None:
    expensive = "{ products(first: 100) { nodes { upstream { totalCount } downstream { totalCount } } } }"
    with structlog.testing.capture_logs() as logs:
        async with locked(address, "lineage_link_effective") as wait_for_active:
            async with service.abandoned_request(expensive):
                await wait_for_active(1)
            await service.app.state.figures.wait_until_idle()
    # the statement for the figures ends after a second, the request has ended before
    assert [it.get("status", it["event"]) for it in logs] == [CLIENT_CLOSED_REQUEST, "figures not read"]


@pytest.mark.parametrize(
    ("module", "name", "query"),
    [
        pytest.param(walks, "find_cycles", '{ product(name: "x") { downstream { cycles } } }', id="the graph of a walk"),
        pytest.param(
            walks,
            "best_confidences",
            '{ a: product(name: "x") { downstream { edges { confidence } } } b: product(name: "y") { name } }',
            id="through a loader",
        ),
        pytest.param(analytics, "measure_graph", "{ analytics { lineage { longestPath } } }", id="statistics"),
        pytest.param(
            paths, "paths_between", '{ lineagePaths(from: { uid: "%s" }, to: { uid: "%s" }) { exhaustive } }', id="paths"
        ),
    ],
)
async def test_a_disconnect_ends_the_computation(
    service: Service, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, query: str
) -> None:
    uids = []
    for product in "xy":
        created = await service.execute(REGISTER.replace("changed", "product { uid }").replace('"x"', f'"{product}"'))
        uids.append(created["data"]["registerProduct"]["product"]["uid"])
    link = 'source: { product: "x" }, target: { product: "y" }'
    assert "errors" not in await service.execute(f"mutation {{ registerLineage(input: {{ {link} }}) {{ changed }} }}")
    query = query % tuple(uids) if "%" in query else query
    started, ended, loop = asyncio.Event(), asyncio.Event(), asyncio.get_running_loop()

    def compute(*arguments: Any, **_: Any) -> None:
        """Compute without an end of its own."""
        (computation,) = (it for it in arguments if isinstance(it, Computation))
        loop.call_soon_threadsafe(started.set)
        try:
            while True:
                computation.check()
        finally:
            loop.call_soon_threadsafe(ended.set)

    monkeypatch.setattr(loading, "_FEW_PARTS", 0)
    with monkeypatch.context() as endless:
        endless.setattr(module, name, compute)
        async with asyncio.timeout(TIMEOUT):
            async with service.abandoned_request(query):
                await started.wait()
            await ended.wait()
    # the thread and the slot are free
    assert "errors" not in await service.execute(query)

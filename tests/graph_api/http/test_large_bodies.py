"""Large bodies: what they cost, how many are read at once, how their JSON is parsed, and that nothing keeps them."""

import asyncio
import gc
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import orjson
import pytest

from graph_api.http import graphql
from graph_api.http.request import HttpRequest
from graph_api.http.request_parsing import BYTES_PER_COST, LARGE_BODY_BYTES, parse_json
from tests.graph_api.http.test_disconnect import TIMEOUT, Service, locked

pytestmark = pytest.mark.api

LIST = "{ products { nodes { name } } }"
TAGS = "query($given: [String!]) { products(filter: { tags: $given }) { totalCount } }"
_REMAINING = re.compile(rb'\r\nratelimit: "key";r=(\d+);', re.IGNORECASE)
KEY_RATE = 1_000_000
# Seconds of one parsing, so long that the duration of everything else does not matter.
SLOW = 0.4


def operation(query: str, size: int, *, padding: int = 0, valid: bool = True) -> bytes:
    """Return a body of this size, with a list of short texts as a variable. Padding is added to it."""
    names = ["t"] * ((size - 200) // 4)
    body = orjson.dumps({"query": query, "variables": {"given": names}})
    assert len(body) <= size
    return body[:-1] + b" " * (size - len(body) + padding) + (b"}" if valid else b"!")


class Client:
    """A connection to the service, which stays open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.head = b""

    def write(self, body: bytes, length: int | None = None) -> None:
        """Send a request whose body has, or will have, this length."""
        head = "POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json"
        self._writer.write(f"{head}\r\nContent-Length: {length or len(body)}\r\n\r\n".encode() + body)

    async def read(self) -> int:
        """Read a response. Return its status."""
        async with asyncio.timeout(TIMEOUT):
            self.head = await self._reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", self.head)
            assert length
            await self._reader.readexactly(int(length[1]))
        return int(self.head.split()[1])

    async def post(self, body: bytes) -> int:
        self.write(body)
        return await self.read()

    @property
    def is_kept(self) -> bool:
        """True if the service keeps the connection after the response."""
        return b"\r\nconnection: close\r\n" not in self.head.lower()

    @property
    def spent(self) -> int:
        """Cost that was charged up to the last response."""
        remaining = _REMAINING.search(self.head)
        assert remaining
        return KEY_RATE - int(remaining[1])


@asynccontextmanager
async def client_of(service: Service) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("query", "valid", "status", "more"),
    [
        pytest.param("{ __typename }", True, 200, 1, id="an operation that ignores it"),
        pytest.param(TAGS, True, 200, 1, id="a list that is too long"),
        pytest.param("{ __typename }", False, 400, 0, id="invalid JSON"),
    ],
)
async def test_a_large_body_is_charged_by_its_size(address: str, query: str, *, valid: bool, status: int, more: int) -> None:
    size = 100_000
    async with Service(address, key_rate=f"{KEY_RATE}/minute", tenant_rate="") as service, client_of(service) as client:
        assert await client.post(operation(query, size, valid=valid)) == status
        assert client.spent == size // BYTES_PER_COST + more
        assert await client.post(operation("{ __typename }", LARGE_BODY_BYTES)) == 200
        assert client.spent == size // BYTES_PER_COST + more + 1


async def test_a_refused_document_is_charged_by_its_size(address: str) -> None:
    async with Service(address, key_rate=f"{KEY_RATE}/minute", tenant_rate="") as service, client_of(service) as client:
        assert await client.post(orjson.dumps({"query": "{ nope }"})) == 200
        assert client.spent == 1
        assert await client.post(orjson.dumps({"query": "{ nope }" + " " * 9_992})) == 200
        assert client.spent == 101


async def test_only_a_large_body_waits_to_be_parsed(address: str) -> None:
    async with Service(address, max_waiting=0) as service, client_of(service) as client:
        assert await client.post(operation("{ __typename }", 100_000)) == 200
        async with service.app.state.parse_admission.slot(1, "another"):
            assert await client.post(operation("{ __typename }", LARGE_BODY_BYTES)) == 200
            assert await client.post(operation("{ __typename }", LARGE_BODY_BYTES + 1)) == 503


async def test_the_parsing_of_a_large_body_is_followed_by_a_pause(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = asyncio.Event()

    def parse_slowly(body: bytes) -> Any:
        time.sleep(SLOW)
        parsed.set()
        return parse_json(body)

    body = operation("{ __typename }", 50_000)
    async with Service(address, max_waiting=0, pool_size=3) as service, client_of(service) as first, client_of(service) as second:
        # its document is known then
        assert await first.post(body) == 200
        monkeypatch.setattr(graphql, "parse_json", parse_slowly)
        first.write(body)
        async with asyncio.timeout(TIMEOUT):
            await parsed.wait()
        assert (await second.post(body), await first.read()) == (503, 200)


async def test_a_tenant_has_few_large_bodies_read_at_once(address: str) -> None:
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(Service(address, pool_size=10, max_waiting=0))
        clients = [await stack.enter_async_context(client_of(service)) for _ in range(10)]
        # two slots are kept for other tenants
        for client in clients[:8]:
            client.write(b"{", 100_000)
        small = operation("{ __typename }", 1_000)
        async with asyncio.timeout(TIMEOUT):
            while service.app.state.body_admission._free > 2:  # noqa: ASYNC110
                await asyncio.sleep(0)
        clients[8].write(b"{", 100_000)
        assert await clients[8].read() == 503
        assert not clients[8].is_kept
        assert await clients[9].post(small) == 200


async def test_a_large_body_holds_its_slot_until_the_response(address: str) -> None:
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(Service(address, pool_size=10))
        clients = [await stack.enter_async_context(client_of(service)) for _ in range(3)]
        async with locked(address, "product_version") as wait_for_active:
            for client in clients[:2]:
                client.write(operation(TAGS, 4_000, padding=30_000))
            clients[2].write(operation(TAGS, 4_000))
            await wait_for_active(3)
            assert service.app.state.body_admission._free == 8
        assert [await client.read() for client in clients] == [200, 200, 200]
        assert service.app.state.body_admission._free == 10


async def test_a_caller_who_has_spent_the_rate_sends_no_body_beyond_the_limit(address: str) -> None:
    async with Service(address, key_rate="1/minute") as service, client_of(service) as client:
        assert await client.post(operation("{ __typename }", 1_000)) == 200
        assert await client.post(operation("{ __typename }", 200_000)) == 429
        assert client.is_kept
        client.write(b"{", 10_000_000)
        assert await client.read() == 429
        assert not client.is_kept


async def test_nothing_keeps_a_request_that_has_its_response(address: str) -> None:
    async with Service(address) as service, client_of(service) as client:
        assert await client.post(operation("{ __typename }", 100_000)) == 200
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                assert await client.post(operation("{ __typename }", 100_000)) == 200
            kept = [it for it in gc.get_objects() if isinstance(it, HttpRequest)]
        finally:
            gc.enable()
    # the task of the last one may not have ended
    assert len(kept) <= 1

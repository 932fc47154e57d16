"""What somebody may send who means harm, and has a key: it is refused at once, and whoever asks beside it is answered."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from graph_api.http.http_protocol import MAX_HEAD_BYTES
from graph_api.http.media_types import GRAPHQL
from tests.builders import REGISTER, product_fields
from tests.schema.language.test_limits import HOSTILE
from tests.security.service_harness import BODY_SECONDS, LIST, PATIENCE, Client, Owner, Service, refused

pytestmark = pytest.mark.api

# Refusals take milliseconds, and answers little more; others may be at work on the machine.
AT_ONCE = 2.0
SOON = 5.0

MEGABYTE = 1_000_000


def walks(levels: int) -> str:
    """Walks below walks."""
    selected = "upstream { totalCount }"
    for _ in range(levels):
        selected = f"upstream(first: 1000) {{ nodes {{ {selected} }} }}"
    return f"{{ products(first: 100) {{ nodes {{ {selected} }} }} }}"


@asynccontextmanager
async def somebody_else(ask: Client) -> AsyncIterator[None]:
    """Whatever happens in the block: whoever asks from another tenant meanwhile is answered, and soon."""
    name = await ask.owner.tenant()
    key = await ask.owner.key("read", of=name)
    done = asyncio.Event()
    took: list[float] = []

    async def go_on() -> None:
        async with ask.service.client() as other:
            while not (done.is_set() and took):
                began = time.monotonic()
                assert (await other(key=key)).data == {"products": {"nodes": []}}
                took.append(time.monotonic() - began)

    async with asyncio.TaskGroup() as group:
        group.create_task(go_on())
        yield
        done.set()
    assert max(took) < SOON


class Wire:
    """A connection on which anything may be sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def told(self) -> str:
        """All that the service says until it closes the connection."""
        async with asyncio.timeout(PATIENCE):
            try:
                return (await self.reader.read()).decode()
            except ConnectionResetError:
                return ""

    async def drip(self, piece: bytes, seconds: float = 0.05) -> None:
        """Sends a little again and again, until the connection is closed."""
        try:
            while not self.reader.at_eof():
                self.writer.write(piece)
                await self.writer.drain()
                await asyncio.sleep(seconds)
        except ConnectionError:
            pass

    async def told_while_dripping(self, piece: bytes) -> str:
        dripping = asyncio.create_task(self.drip(piece))
        try:
            return await self.told()
        finally:
            dripping.cancel()


@asynccontextmanager
async def wired(service: Service, *sent: bytes) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    try:
        for it in sent:
            writer.write(it)
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


def head(key: str, length: int | str, target: str = "POST /graphql", media_type: str = "application/json") -> bytes:
    lines = [f"{target} HTTP/1.1", "Host: 127.0.0.1", f"X-API-Key: {key}", f"Content-Type: {media_type}"]
    lines.append(f"Content-Length: {length}" if isinstance(length, int) else length)
    return "\r\n".join([*lines, "", ""]).encode()


async def asked(service: Service, key: str, query: str = LIST) -> tuple[int, str]:
    """The status of an answer, and the answer, over a connection of its own."""
    body = json.dumps({"query": query}).encode()
    async with wired(service, head(key, f"Connection: close\r\nContent-Length: {len(body)}"), body) as wire:
        told = await wire.told()
        return int(told.split()[1]), told


@pytest.fixture
async def key(owner: Owner) -> str:
    """One that may do everything."""
    return await owner.key("read", "write", "admin")


# what is larger than a body may be is another matter
@pytest.mark.parametrize("kind", [kind for kind, it in HOSTILE.items() if len(it) < 200_000])
async def test_a_hostile_document_is_refused_at_once(ask: Client, key: str, kind: str) -> None:
    async with somebody_else(ask):
        began = time.monotonic()
        answer = await ask(HOSTILE[kind], key, {"Accept": GRAPHQL})
        took = time.monotonic() - began
    assert refused(answer) == (400, "LIMIT_EXCEEDED")
    assert took < AT_ONCE


async def test_what_may_come_to_a_cost_of_a_billion_is_refused_at_once(ask: Client, key: str) -> None:
    async with somebody_else(ask):
        began = time.monotonic()
        answer = await ask(walks(2), key, {"Accept": GRAPHQL})
        took = time.monotonic() - began
    assert refused(answer) == (400, "LIMIT_EXCEEDED")
    cost = answer.body["extensions"]["cost"]
    assert (cost["requested"] > 10**9, cost["actual"], cost["limit"]) == (True, 0, 10**6)
    assert took < AT_ONCE


async def test_many_operations_at_once_are_refused_whatever_they_are(ask: Client, key: str) -> None:
    async with somebody_else(ask):
        response = await ask.http.post("/graphql", json=[{"query": LIST}] * 1_000, headers={"X-API-Key": key})
    assert response.status_code == 400
    assert response.json()["errors"][0]["message"].startswith("Batching is off")


@pytest.mark.parametrize("length", [5 * MEGABYTE, "Transfer-Encoding: chunked"])
async def test_of_a_body_of_five_megabytes_most_is_not_read(ask: Client, key: str, length: int | str) -> None:
    sent = 0
    async with somebody_else(ask), wired(ask.service, head(key, length)) as wire:
        told = asyncio.create_task(wire.told())
        piece = b" " * 65_536
        try:
            while sent < 5 * MEGABYTE and not told.done():
                wire.writer.write(piece if isinstance(length, int) else b"10000\r\n" + piece + b"\r\n")
                await wire.writer.drain()
                sent += len(piece)
                # the answer may be there by now
                await asyncio.sleep(0.005)
        except ConnectionError:
            pass
        answer = await told
    assert answer.startswith("HTTP/1.1 413 ")
    assert "connection: close" in answer
    assert '"code":"LIMIT_EXCEEDED"' in answer
    assert sent < MEGABYTE


async def test_whoever_sends_five_megabytes_by_a_usual_client_is_told_why_not(ask: Client, key: str) -> None:
    answer = await ask("#" * 5 * MEGABYTE, key)
    assert refused(answer) == (413, "LIMIT_EXCEEDED")


async def test_of_five_hundred_at_once_on_a_pool_of_ten_each_is_answered_and_others_are_let_in_between(
    ask: Client, key: str
) -> None:
    async with somebody_else(ask):
        answers = await asyncio.gather(*(asked(ask.service, key) for _ in range(500)))
    statuses = Counter(status for status, _ in answers)
    assert statuses.keys() <= {200, 503}
    # ten run and forty wait, of whom some made room for others
    assert statuses[200] >= 40
    for status, told in answers:
        if status == 503:
            assert "retry-after: 1" in told
            assert '"code":"UNAVAILABLE"' in told


async def test_a_body_of_a_byte_now_and_then_is_not_waited_for(ask: Client, key: str) -> None:
    async with somebody_else(ask), wired(ask.service, head(key, 1_000)) as wire:
        began = time.monotonic()
        told = await wire.told_while_dripping(b" ")
        took = time.monotonic() - began
    assert told.startswith("HTTP/1.1 408 ")
    assert '"code":"TIMEOUT"' in told
    assert BODY_SECONDS <= took < BODY_SECONDS + AT_ONCE


HALF = b"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\n"
WHOLE = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "dripping", "status"),
    [
        pytest.param(b"", b"", "", id="nothing"),
        pytest.param(HALF, b"", "408", id="half a head"),
        pytest.param(HALF, b"X-More: x\r\n", "408", id="a header now and then"),
        pytest.param(b"", b"\r\n", "408", id="an empty line now and then"),
        pytest.param(b"POST /grap", b"h", "408", id="an address a letter at a time"),
    ],
)
async def test_whoever_connects_and_sends_no_request_is_not_waited_for(
    ask: Client, sent: bytes, dripping: bytes, status: str
) -> None:
    async with somebody_else(ask), wired(ask.service, sent) as wire:
        began = time.monotonic()
        told = await (wire.told_while_dripping(dripping) if dripping else wire.told())
        took = time.monotonic() - began
    assert told[9:12] == status
    assert BODY_SECONDS / 2 <= took < BODY_SECONDS + AT_ONCE


@pytest.mark.parametrize(
    ("request_head", "dripping"),
    [
        pytest.param(WHOLE, HALF[:1], id="a second request that does not come"),
        pytest.param(head("x", "Transfer-Encoding: chunked", "POST /health"), b"1\r\n \r\n", id="a body of a request answered"),
    ],
)
async def test_whoever_was_answered_and_then_drips_is_not_waited_for(ask: Client, request_head: bytes, dripping: bytes) -> None:
    async with wired(ask.service, request_head) as wire:
        answer = await wire.reader.readuntil(b"\r\n\r\n")
        assert answer.split()[1] in (b"200", b"405")
        began = time.monotonic()
        await wire.told_while_dripping(dripping)
        assert time.monotonic() - began < BODY_SECONDS + AT_ONCE


async def test_a_connection_serves_one_request_after_another_and_several_that_come_at_once(ask: Client) -> None:
    async with wired(ask.service) as wire:
        for number in (1, 1, 2, 3):
            wire.writer.write(WHOLE * number)
            for _ in range(number):
                answer = await wire.reader.readuntil(b"}")
                assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(HALF + b"X-Large: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n", id="one large header"),
        pytest.param(HALF + b"X-Small: x\r\n" * (MAX_HEAD_BYTES // 12) + b"\r\n", id="many small headers"),
        pytest.param(HALF + b"X-Endless: " + b"x" * 2 * MEGABYTE, id="a header without an end"),
        pytest.param(b"GET /" + b"x" * MAX_HEAD_BYTES + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", id="a large address"),
    ],
)
async def test_a_head_that_is_too_large_is_431(ask: Client, sent: bytes) -> None:
    async with somebody_else(ask), wired(ask.service) as wire:
        for start in range(0, len(sent), 16_384):
            wire.writer.write(sent[start : start + 16_384])
            # in pieces, as it would come from afar
            await asyncio.sleep(0.002)
            if wire.reader.at_eof() or wire.writer.is_closing():
                break
        told = await wire.told()
    assert told.startswith("HTTP/1.1 431 ")
    assert told.endswith(f"The request line and headers may have at most {MAX_HEAD_BYTES} bytes.")


async def test_a_large_body_right_behind_its_head_is_no_large_head(ask: Client, key: str) -> None:
    answer = await ask("#" * 200_000 + "\n{ __typename }", key)
    assert answer.data == {"__typename": "Query"}


SENT = json.dumps({"query": LIST}).encode()
WRITE = 'mutation { deleteProduct(input: { uid: "2b5a1f0e-7c1d-4f3b-9a55-0d6c2a7be101" }) { uid } }'
OTHERWISE: dict[str, tuple[dict[str, Any], int]] = {
    "a GET that a page may have sent": ({"method": "GET", "params": {"query": LIST}}, 400),
    "a mutation by GET": (
        {"method": "GET", "params": {"query": WRITE}, "headers": {"GraphQL-Require-Preflight": "1"}},
        405,
    ),
    "a long address": (
        {"method": "GET", "params": {"query": "#" * 20_000}, "headers": {"GraphQL-Require-Preflight": "1"}},
        414,
    ),
    "multipart": ({"files": {"operations": SENT}}, 415),
    "a form": ({"data": {"query": LIST}}, 415),
    "text": ({"content": SENT, "headers": {"Content-Type": "text/plain"}}, 415),
    "JSON that calls itself text": ({"content": SENT, "headers": {"Content-Type": "text/plain; application/json"}}, 415),
    "no type": ({"content": SENT}, 415),
    "an encoding": ({"content": SENT, "headers": {"Content-Type": "application/json", "Content-Encoding": "gzip"}}, 415),
    "no encoding that there is": (
        {"content": SENT, "headers": {"Content-Type": "application/json", "Content-Encoding": "x"}},
        415,
    ),
    "another method": ({"method": "PUT", "content": SENT}, 405),
    "no JSON": ({"content": b"\xff", "headers": {"Content-Type": "application/json"}}, 400),
    "deep JSON": ({"content": b"[" * 100_000, "headers": {"Content-Type": "application/json"}}, 400),
}


@pytest.mark.parametrize("kind", OTHERWISE)
async def test_what_comes_otherwise_than_it_should_is_refused(ask: Client, key: str, kind: str) -> None:
    options, status = OTHERWISE[kind]
    headers = {"X-API-Key": key, **options.get("headers", {})}
    began = time.monotonic()
    response = await ask.http.request(**{"method": "POST", "url": "/graphql", **options, "headers": headers})
    assert time.monotonic() - began < AT_ONCE
    assert response.status_code == status, response.text
    assert "data" not in response.json()
    assert response.json()["errors"][0]["extensions"]["code"] in ("BAD_INPUT", "LIMIT_EXCEEDED")


async def test_whoever_goes_away_amid_a_walk_has_its_statement_ended(ask: Client, key: str, owner: Owner) -> None:
    await ask(REGISTER, key, input=product_fields("walked"))
    body = json.dumps({"query": '{ product(name: "walked") { upstream { totalCount } } }'}).encode()
    async with owner.locked("lineage_link_effective"):
        async with wired(ask.service, head(key, len(body)), body):
            await owner.at_work(1)
        # the lock is held still: only what was ended ends
        await owner.at_work(0)
        async with somebody_else(ask):
            pass

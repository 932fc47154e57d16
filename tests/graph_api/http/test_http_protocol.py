"""The protocol of a connection: a request in bytes, messages for an application, and its response in bytes."""

import asyncio
import gc
import itertools
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any, cast

import pytest
import uvloop
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.server import ServerState

from db.errors import Unavailable
from db.tenant_ids import NO_TENANT_ID
from graph_api.http.connection_limits import TOO_MANY_CONNECTIONS, ConnectionLimits, claim_connection, countable_address
from graph_api.http.discarding import LINGER_SECONDS, DiscardPace
from graph_api.http.http_protocol import MAX_PIPELINED, Connection
from graph_api.http.request_parser import MAX_HEAD_BYTES
from graph_api.http.send_limits import SendLimits

pytestmark = pytest.mark.unit

SLOW = 10.0

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n/a"


class Transport:
    """Transport that records what is written, and how often."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.is_closed = self.is_half_closed = self.is_paused = self.is_aborted = False
        # bytes that the client has yet to take
        self.unsent = 0

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def write_eof(self) -> None:
        self.is_half_closed = True

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_aborted = self.is_closed = True

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def get_extra_info(self, name: str) -> Any:
        return {"peername": ("127.0.0.1", 1234), "sockname": ("127.0.0.1", 80)}.get(name)


async def echo_path(scope: Scope, receive: Receive, send: Send) -> None:
    body = scope["path"].encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def connect(
    application: ASGIApp,
    head_timeout: float = SLOW,
    keep_alive: float = SLOW,
    limits: ConnectionLimits | None = None,
    send_limits: SendLimits | None = None,
    proxies: str = "10.0.0.1",
    discard_pace: DiscardPace | None = None,
) -> tuple[Connection, Transport]:
    config = Config(application, log_config=None, timeout_keep_alive=cast(int, keep_alive), forwarded_allow_ips=proxies)
    transport = Transport()
    connection = Connection(
        config,
        ServerState(),
        {},
        head_timeout=head_timeout,
        limits=limits or ConnectionLimits(),
        send_limits=send_limits or SendLimits(),
        discard_pace=discard_pace or DiscardPace(),
    )
    connection.connection_made(cast(asyncio.Transport, transport))
    return connection, transport


async def settle(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(SLOW):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)


def of_start(**start: Any) -> Callable[..., Awaitable[None]]:
    """Return an application that sends this start and a body in two parts."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [], **start})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b"two"})

    return application


async def test_head_and_body_of_a_response_are_sent_at_once() -> None:
    connection, transport = connect(echo_path)
    for _ in range(3):
        connection.data_received(GET)
        await settle(lambda: transport.written)
        assert transport.written == [OK]
        transport.written.clear()
    assert not transport.is_closed


async def test_a_response_in_parts_is_sent_in_parts() -> None:
    for start, expected in (
        ({}, [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n", b"3\r\ntwo\r\n0\r\n\r\n"]),
        ({"headers": [(b"content-length", b"6")]}, [b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\none", b"two"]),
    ):
        connection, transport = connect(of_start(**start))
        connection.data_received(GET)
        await settle(lambda: len(transport.written) == 2)  # noqa: B023
        assert transport.written == expected


async def test_a_response_to_head_has_no_body() -> None:
    connection, transport = connect(echo_path)
    connection.data_received(GET.replace(b"GET", b"HEAD"))
    await settle(lambda: transport.written)
    assert transport.written == [OK.removesuffix(b"/a")]


async def test_pipelined_requests_are_answered_one_after_the_other_and_in_order() -> None:
    running: list[str] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        running.append(scope["path"])
        await asyncio.sleep(0.01)
        assert running == [scope["path"]]
        running.pop()
        await echo_path(scope, receive, send)

    connection, transport = connect(application)
    paths = [b"/%d" % number for number in range(10)]
    connection.data_received(b"".join(GET.replace(b"/a", path) for path in paths))
    assert transport.is_paused
    await settle(lambda: len(transport.written) == 10)
    assert transport.written == [OK.replace(b"/a", path) for path in paths]
    assert not transport.is_paused


CHUNKED = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("first", [GET, CHUNKED + b"1\r\nx\r\n0\r\n\r\n"], ids=["GET", "behind a body"])
async def test_few_pipelined_requests_are_parsed_ahead_and_others_run_between_their_answers(first: bytes) -> None:
    finish = asyncio.Event()
    disconnected: list[asyncio.Task[Message]] = []
    answered = turns = 0

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal answered
        if not scope["raw_path"].strip(b"/0"):
            assert (await receive())["type"] == "http.request"
            # to notice a disconnect is no reason to read on
            disconnected.append(asyncio.create_task(receive()))  # type: ignore[arg-type]
            await finish.wait()
        await echo_path(scope, receive, send)
        answered += 1

    async def take_turns() -> None:
        nonlocal turns
        while answered < 2_000:
            turns += 1
            await asyncio.sleep(0)

    connection, transport = connect(application)
    paths = [b"/%d" % number for number in range(2_000)]
    connection.data_received(b"".join((GET if number else first).replace(b"/a", path) for number, path in enumerate(paths)))
    await settle(lambda: disconnected)
    await asyncio.sleep(0)
    assert transport.is_paused
    # what follows a body in the bytes that the parser got with it is parsed, too
    assert MAX_PIPELINED <= len(connection._pipelined) <= MAX_PIPELINED + (0 if first is GET else 1_024 // len(GET))
    async with asyncio.timeout(SLOW), asyncio.TaskGroup() as group:
        group.create_task(take_turns())
        finish.set()
    assert b"".join(transport.written) == b"".join(b"%b%d\r\n\r\n%b" % (OK[:-7], len(it), it) for it in paths)
    assert turns > 1_900
    assert not transport.is_paused
    assert not disconnected[0].cancel()


async def test_requests_that_wait_behind_the_last_of_a_connection_are_not_answered() -> None:
    connection, transport = connect(echo_path)
    connection.data_received(GET + GET.replace(b"Host", b"Connection: close\r\nHost") + GET * 100)
    await settle(lambda: transport.is_closed or transport.is_half_closed)
    assert len(transport.written) == 2
    assert not transport.is_paused


@pytest.mark.parametrize("is_complete", [True, False])
async def test_a_client_that_takes_nothing_of_its_response_is_disconnected(*, is_complete: bool) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await echo_path(scope, receive, send)

    connection, transport = connect(application, send_limits=SendLimits(0.1))
    transport.unsent = 100_000
    if is_complete:
        # its keep-alive ends while the last bytes wait, too few to pause
        connection.data_received(GET.replace(b"Host", b"Connection: close\r\nHost"))
        await settle(lambda: transport.written)
    else:
        connection.data_received(GET)
        await settle(lambda: transport.written)
        connection.pause_writing()
    # it is slow, but takes something
    for _ in range(3):
        await asyncio.sleep(0.07)
        transport.unsent -= 1
        assert not transport.is_aborted
    await settle(lambda: transport.is_aborted)
    connection.connection_lost(None)


async def test_a_client_that_has_taken_its_response_is_watched_no_more() -> None:
    connection, transport = connect(echo_path, send_limits=SendLimits(0.02))
    transport.unsent = 100_000
    connection.pause_writing()
    transport.unsent = 10
    connection.resume_writing()
    transport.unsent = 0
    await asyncio.sleep(0.1)
    assert not transport.is_aborted


async def test_the_time_to_take_a_response_is_not_that_of_an_earlier_one() -> None:
    connection, transport = connect(echo_path, send_limits=SendLimits(0.2))
    transport.unsent = 100_000
    connection.pause_writing()
    transport.unsent = 0
    connection.resume_writing()
    await asyncio.sleep(0.15)
    transport.unsent = 4_000_000
    connection.pause_writing()
    await asyncio.sleep(0.1)
    assert not transport.is_aborted
    await asyncio.sleep(0.2)
    assert transport.is_aborted


async def test_a_client_that_takes_its_response_too_slowly_is_disconnected(caplog: pytest.LogCaptureFixture) -> None:
    connection, transport = connect(echo_path, send_limits=SendLimits(timeout=0.1, min_rate=500_000))
    transport.unsent = 50_000
    connection.pause_writing()
    started = asyncio.get_running_loop().time()
    # the client takes a byte in each turn
    async with asyncio.timeout(SLOW):
        while not transport.is_aborted:
            transport.unsent -= 1
            await asyncio.sleep(0.01)
    assert asyncio.get_running_loop().time() - started >= 0.1 + 50_000 / 500_000
    reason = "A client took less than 500000 bytes a second of its answer. Its connection is closed."
    assert [it.getMessage() for it in caplog.records] == [reason]
    connection.connection_lost(None)


async def test_unsent_bytes_are_bounded_and_the_tenant_with_the_most_loses_its_oldest() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        claim_connection(scope, int(scope["path"].strip("/")))
        await echo_path(scope, receive, send)

    limits = SendLimits(max_bytes=1_000_000)
    transports: list[Transport] = []
    connections: list[Connection] = []

    async def leave_unsent(tenant: bytes, size: int) -> None:
        connection, transport = connect(application, send_limits=limits)
        connection.data_received(GET.replace(b"/a", b"/" + tenant))
        await settle(lambda: transport.written)
        transport.unsent = size
        connection.pause_writing()
        await asyncio.sleep(0)
        connections.append(connection)
        transports.append(transport)

    await leave_unsent(b"8", 400_000)
    for _ in range(3):
        await leave_unsent(b"7", 200_000)
    assert not any(it.is_aborted for it in transports)
    await leave_unsent(b"8", 100_000)
    assert [it.is_aborted for it in transports] == [False, True, False, False, False]
    # what a client has taken does not count
    transports[0].unsent = 10
    await leave_unsent(b"9", 450_000)
    assert sum(it.is_aborted for it in transports) == 1
    for connection in connections:
        connection.connection_lost(None)
    assert limits.watches == {}


def test_a_client_that_reads_gets_its_whole_response_beside_many_that_do_not() -> None:
    body = bytes(1_000_000)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        claim_connection(scope, int(scope["path"].strip("/")))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    async def serve(clients: ExitStack) -> None:
        config, state = Config(application, log_config=None), ServerState()
        limits, send_limits = ConnectionLimits(), SendLimits(max_bytes=5_000_000)

        def make() -> Connection:
            return Connection(
                config, state, {}, head_timeout=SLOW, limits=limits, send_limits=send_limits, discard_pace=DiscardPace()
            )

        listener = socket.create_server(("127.0.0.1", 0))
        # so that the kernel keeps little of a response
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        server = await asyncio.get_running_loop().create_server(make, sock=listener)
        address = listener.getsockname()
        try:
            for _ in range(20):
                idle = clients.enter_context(socket.create_connection(address))
                idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
                idle.sendall(GET.replace(b"/a", b"/7") * 3)
            reader, writer = await asyncio.open_connection(*address)
            async with asyncio.timeout(SLOW):
                for _ in range(10):
                    writer.write(GET.replace(b"/a", b"/8"))
                    await reader.readuntil(b"\r\n\r\n")
                    assert await reader.readexactly(len(body)) == body
            unsent = sum(it.unsent for it in send_limits.watches)
            assert 2_000_000 < unsent <= send_limits.max_bytes
            writer.close()
        finally:
            # the loop does not end before its connections
            server.close()
            clients.close()
            await settle(lambda: not state.connections)

    with ExitStack() as clients, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(clients))


async def test_the_next_request_waits_until_the_response_before_is_taken() -> None:
    paths: list[str] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        paths.append(scope["path"])
        await echo_path(scope, receive, send)

    connection, transport = connect(application, keep_alive=0.02)
    connection.data_received(GET)
    await settle(lambda: transport.written)
    transport.unsent = 100_000
    connection.pause_writing()
    connection.data_received(GET.replace(b"/a", b"/b") * 20)
    await asyncio.sleep(0.05)
    assert (paths, transport.is_paused, transport.is_closed) == (["/a"], True, False)
    transport.unsent = 0
    connection.resume_writing()
    await settle(lambda: len(paths) == 21)
    assert not transport.is_paused


async def test_connections_of_an_address_are_bounded_and_those_of_a_proxy_are_not(caplog: pytest.LogCaptureFixture) -> None:
    limits = ConnectionLimits(per_address=2)
    first, second = (connect(echo_path, limits=limits) for _ in range(2))
    refused = [connect(echo_path, limits=limits)[1].is_closed for _ in range(3)]
    assert refused == [True] * 3
    assert [it.getMessage() for it in caplog.records] == ["127.0.0.1 holds 2 connections. Further ones are closed."]
    first[0].connection_lost(None)
    admitted, transport = connect(echo_path, limits=limits)
    admitted.data_received(GET)
    await settle(lambda: transport.written == [OK])
    for connection in (admitted, second[0]):
        connection.connection_lost(None)
    assert limits.by_address == {}
    of_proxy = [connect(echo_path, limits=limits, proxies="127.0.0.1")[1].is_closed for _ in range(3)]
    assert of_proxy == [False] * 3


async def test_connections_of_a_tenant_are_bounded() -> None:
    limits = ConnectionLimits(per_tenant=2)
    refused: list[str] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            claim_connection(scope, int(scope["path"].strip("/")))
        except Unavailable as error:
            refused.append(error.message)
        await echo_path(scope, receive, send)

    connections = [connect(application, limits=limits, proxies="127.0.0.1") for _ in range(3)]

    async def request(index: int, tenant: bytes) -> None:
        connection, transport = connections[index]
        transport.written.clear()
        connection.data_received(GET.replace(b"/a", b"/" + tenant))
        await settle(lambda: transport.written)

    for index in (0, 0, 1, 2):
        await request(index, b"7")
    assert refused == [TOO_MANY_CONNECTIONS]
    # a connection belongs to the tenant of its latest request
    await request(0, b"8")
    await request(2, b"7")
    assert (limits.by_tenant, len(refused)) == ({8: 1, 7: 2}, 1)
    for connection, _ in connections:
        connection.connection_lost(None)
    assert limits.by_tenant == {}


async def test_strangers_are_counted_by_their_address_and_not_together() -> None:
    limits = ConnectionLimits(per_address=2, per_tenant=1)
    refused: list[str] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            claim_connection({**scope, "client": (scope["path"].strip("/"), 1)}, NO_TENANT_ID)
        except Unavailable:
            refused.append(scope["path"])
        await echo_path(scope, receive, send)

    async def request(path: bytes, proxies: str) -> Connection:
        connection, transport = connect(application, limits=limits, proxies=proxies)
        connection.data_received(GET.replace(b"/a", b"/" + path))
        await settle(lambda: transport.written)
        return connection

    direct = [await request(b"127.0.0.1", "10.0.0.1") for _ in range(2)]
    assert (refused, limits.by_address, limits.by_tenant) == ([], {"127.0.0.1": 2}, {})
    # a proxy forwards for others
    forwarded = [await request(it, "127.0.0.1") for it in (b"2001:db8::1", b"2001:db8::2", b"2001:db8:0:1::1", b"2001:db8::3")]
    assert refused == ["/2001:db8::3"]
    assert limits.by_address == {"127.0.0.1": 2, "2001:db8::/64": 2, "2001:db8:0:1::/64": 1}
    for connection in (*direct, *forwarded):
        connection.connection_lost(None)
    assert (limits.by_address, limits.by_tenant) == ({}, {})


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("a:b", "a:b"),
    ],
)
def test_an_address_is_counted_with_those_that_one_client_has(address: str, expected: str) -> None:
    assert countable_address(address) == expected


async def test_a_trailer_is_no_header() -> None:
    headers: list[list[tuple[bytes, bytes]]] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass
        headers.append(scope["headers"])
        await echo_path(scope, receive, send)

    connection, transport = connect(application)
    for number, end in enumerate((b"0\r\nX-API-Key: k\r\nX-Forwarded-For: a\r\n\r\n", b"0\r\nX-API-Key: k\r\n\r\n"), 1):
        connection.data_received(CHUNKED)
        connection.data_received(b"1\r\nx\r\n" + end + GET)
        await settle(lambda: len(transport.written) == 2 * number)  # noqa: B023
    assert headers == [[(b"host", b"x"), (b"transfer-encoding", b"chunked")], [(b"host", b"x")]] * 2


@pytest.mark.parametrize(
    "endless",
    [b"0\r\nX: " + b"y" * 1_000, b"0\r\n" + b"X: y\r\n" * 200, b"1;" + b"x" * 1_000],
    ids=["one trailer", "trailers", "an extension"],
)
async def test_trailers_and_what_else_frames_a_body_are_bounded(endless: bytes) -> None:
    connection, transport = connect(of_start())
    connection.data_received(CHUNKED + b"1\r\nx\r\n" + endless)
    more = endless.partition(b"\n")[2] or b"x" * 1_000
    for _ in range(MAX_HEAD_BYTES // len(more) + 1):
        connection.data_received(more)
    await settle(lambda: transport.is_half_closed)
    assert transport.written[-1].startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "request_bytes",
    [
        GET.replace(b"Host", b"Connection: close\r\nHost"),
        GET.replace(b"1.1", b"1.0"),
        GET.replace(b"Host", b"Connection: Upgrade\r\nUpgrade: websocket\r\nHost"),
    ],
    ids=["close", "1.0", "upgrade"],
)
async def test_the_connection_is_closed_after_the_response_if_no_other_request_can_follow(request_bytes: bytes) -> None:
    connection, transport = connect(echo_path)
    connection.data_received(request_bytes)
    await settle(lambda: transport.is_closed)
    assert transport.written == [OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")]


@pytest.mark.parametrize("value", [b"a\r\nx-injected: b", b"a\nb", b"a\x00"])
async def test_a_header_with_a_control_character_is_not_sent(value: bytes) -> None:
    connection, transport = connect(of_start(headers=[(b"x-request-id", value)]))
    connection.data_received(GET)
    await settle(lambda: transport.is_closed)
    assert transport.written == [b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"]


@pytest.mark.parametrize("length", [b"1", b"100"])
async def test_a_body_of_another_length_than_declared_breaks_the_connection(length: bytes) -> None:
    connection, transport = connect(of_start(headers=[(b"content-length", length)]))
    connection.data_received(GET)
    await settle(lambda: transport.is_closed)
    assert b"two" not in b"".join(transport.written)


async def test_the_body_is_received_as_it_arrives_and_then_the_disconnect() -> None:
    received: list[Message] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        while not received or received[-1]["type"] != "http.disconnect":
            received.append(await receive())

    connection, transport = connect(application)
    connection.data_received(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
    await settle(lambda: transport.written)
    assert transport.written == [b"HTTP/1.1 100 Continue\r\n\r\n"]
    for part in (b"ab", b"cd"):
        connection.data_received(part)
        await settle(lambda: b"".join(it.get("body", b"") for it in received).endswith(part))  # noqa: B023
    connection.connection_lost(None)
    await settle(lambda: received[-1]["type"] == "http.disconnect")
    assert [it.get("more_body") for it in received] == [True, False, None]


@pytest.mark.parametrize("together", [True, False])
async def test_a_body_that_arrives_with_its_head_is_part_of_the_scope(*, together: bool) -> None:
    found: list[bytes | None] = []
    received: list[Message] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        found.append(scope.get("body"))
        received.append(await receive())
        await echo_path(scope, receive, send)

    connection, transport = connect(application)
    head, body = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n", b"body"
    for part in [head + body] if together else [head, body]:
        connection.data_received(part)
        await asyncio.sleep(0)
    await settle(lambda: transport.written)
    assert found == [body if together else None]
    assert received == [{"type": "http.request", "body": body, "more_body": False}]


async def test_a_body_that_was_taken_from_the_scope_is_not_kept_as_long_as_the_connection() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope.pop("body") == b"body"
        await echo_path(scope, receive, send)

    connection, transport = connect(application)
    connection.data_received(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody")
    await settle(lambda: transport.written)
    assert connection._exchange is not None
    assert not connection._exchange.body


async def test_a_disconnect_is_reported_to_the_running_request_behind_which_others_wait() -> None:
    disconnected = asyncio.Event()
    started: list[str] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        started.append(scope["path"])
        while (await receive())["type"] != "http.disconnect":
            pass
        disconnected.set()

    connection, _ = connect(application)
    connection.data_received(GET + GET.replace(b"/a", b"/b"))
    await settle(lambda: started)
    connection.connection_lost(None)
    async with asyncio.timeout(SLOW):
        await disconnected.wait()
    assert started == ["/a"]


async def test_a_connection_without_requests_ends_and_one_in_use_does_not() -> None:
    connection, transport = connect(echo_path, head_timeout=SLOW, keep_alive=0.2)
    for number in range(1, 7):
        connection.data_received(GET)
        await settle(lambda: len(transport.written) == number)  # noqa: B023
        await asyncio.sleep(0.06)
    assert not transport.is_closed
    await asyncio.sleep(0.4)
    assert transport.is_closed
    _, silent = connect(echo_path, head_timeout=0.05)
    await asyncio.sleep(0.2)
    assert (silent.is_closed, silent.written) == (True, [])


async def test_requests_on_a_connection_start_no_timers(monkeypatch: pytest.MonkeyPatch) -> None:
    connection, transport = connect(echo_path)
    connection.data_received(GET)
    await settle(lambda: transport.written)
    timers: list[object] = []
    monkeypatch.setattr(connection._loop, "call_later", lambda *arguments: timers.append(arguments))
    for number in range(2, 5):
        connection.data_received(GET)
        await settle(lambda: len(transport.written) == number)  # noqa: B023
    assert timers == []


async def test_a_slow_head_is_refused_and_the_rest_of_the_input_is_discarded() -> None:
    connection, transport = connect(echo_path, head_timeout=0.05)
    connection.data_received(GET)
    await settle(lambda: transport.written)
    connection.data_received(b"GET / HTTP/1.1\r\nX: ")
    await asyncio.sleep(0.2)
    assert transport.written[1].startswith(b"HTTP/1.1 408 ")
    assert (transport.is_half_closed, transport.is_closed) == (True, False)
    connection.data_received(b"y" * 100)
    assert len(transport.written) == 2


@pytest.mark.parametrize(
    ("framing", "part", "is_kept"),
    [
        (b"Content-Length: 65536", b"x", True),
        (b"Content-Length: 65537", b"x", False),
        (b"Content-Length: 100000000000", b"x", False),
        (b"Transfer-Encoding: chunked", b"1\r\nx\r\n", False),
    ],
)
async def test_a_connection_whose_body_nobody_reads_is_closed_unless_little_is_announced(
    framing: bytes, part: bytes, *, is_kept: bool
) -> None:
    connection, transport = connect(echo_path)
    connection.data_received(b"POST /a HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n%b" % (framing, part))
    await settle(lambda: transport.written)
    assert transport.written == [OK if is_kept else OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")]
    assert transport.is_half_closed is not is_kept
    assert connection._exchange is not None
    assert not connection._exchange.body
    if is_kept:
        connection.data_received(b"x" * 65_535 + GET)
        await settle(lambda: len(transport.written) == 2)
        assert transport.written[1] == OK


async def test_a_connection_discards_a_piece_in_each_turn() -> None:
    connection, transport = connect(echo_path)
    connection.data_received(b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    await settle(lambda: transport.is_half_closed)
    for _ in range(3):
        connection.data_received(b"x" * 262_144)
        # the transport reads no more before others had their turn
        assert transport.is_paused
        await settle(lambda: not transport.is_paused)
    assert not transport.is_closed
    connection.data_received(b"x")
    transport.close()
    await asyncio.sleep(0.02)
    assert transport.is_paused


def test_connections_discard_one_after_the_other() -> None:
    pace = DiscardPace()
    reserved = [pace.reserve(100.0) for _ in range(2_000)]
    turns = [it for it in reserved if it is not None]
    assert turns[0] == 0
    assert {round(after - before, 6) for before, after in itertools.pairwise(turns)} == {round(turns[1], 6)}
    # later ones are closed before it would be their turn, and keep no others waiting
    assert LINGER_SECONDS - turns[1] <= turns[-1] < LINGER_SECONDS
    assert len(turns) < len(reserved)
    assert pace.reserve(100.0 + LINGER_SECONDS) == pytest.approx(0, abs=turns[1])
    assert pace.reserve(200.0) == 0


# Requests that have been received but for their last byte.
UNFINISHED = [
    b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbod",
    b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r",
]


@pytest.mark.parametrize("unfinished", UNFINISHED)
@pytest.mark.parametrize("together", [True, False])
async def test_a_slow_head_behind_a_body_is_refused(unfinished: bytes, *, together: bool) -> None:
    connection, transport = connect(echo_path, head_timeout=0.05)
    end_and_head = b"\nGET / HTTP/1.1\r\nX: "
    for part in [unfinished + end_and_head] if together else [unfinished, end_and_head]:
        connection.data_received(part)
    await settle(lambda: transport.written)
    await asyncio.sleep(0.2)
    assert [it.split(b"\r\n")[0] for it in transport.written] == [b"HTTP/1.1 200 OK", b"HTTP/1.1 408 Request Timeout"]


@pytest.mark.parametrize("unfinished", UNFINISHED)
@pytest.mark.parametrize("parts", [1, 2, 30])
@pytest.mark.parametrize("is_running", [True, False])
async def test_a_large_head_behind_a_body_is_refused(unfinished: bytes, parts: int, *, is_running: bool) -> None:
    finish = asyncio.Event()
    paths: list[str] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        paths.append(scope["path"])
        if is_running:
            await finish.wait()
        await echo_path(scope, receive, send)

    connection, transport = connect(application)
    connection.data_received(unfinished)
    if not is_running:
        await settle(lambda: transport.written)
    head = b"GET /b HTTP/1.1\r\nHost: x\r\n" + b"X: %b\r\n" % (b"y" * 1_000) * (MAX_HEAD_BYTES // 1_000 + 8) + b"\r\n"
    rest = b"\n" + head + GET
    size = len(rest) // parts + 1
    for start in range(0, len(rest), size):
        connection.data_received(rest[start : start + size])
    finish.set()
    await asyncio.sleep(0.05)
    assert paths == ["/a"]
    statuses = [it[9:12] for it in transport.written]
    # an earlier response ends the connection
    assert statuses == [b"200"] if is_running else [b"200", b"431"]
    assert transport.is_half_closed


@pytest.mark.parametrize("unfinished", UNFINISHED)
async def test_heads_behind_a_body_are_counted_one_by_one(unfinished: bytes) -> None:
    connection, transport = connect(echo_path)
    connection.data_received(unfinished)
    requests = GET * (2 * MAX_HEAD_BYTES // len(GET))
    connection.data_received(b"\n" + requests)
    await settle(lambda: len(transport.written) == 1 + len(requests) // len(GET))
    assert (transport.is_half_closed, transport.is_closed) == (False, False)


@pytest.mark.parametrize(
    "rest", [b"GET /b HT", b"G\x00", b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n\x00", b"GET /b HTTP/1.1\r\n: \r\n\r\n"]
)
@pytest.mark.parametrize("together", [True, False])
async def test_an_error_behind_a_running_request_waits_for_its_response_and_closes_the_connection(
    rest: bytes, *, together: bool, caplog: pytest.LogCaptureFixture
) -> None:
    finish = asyncio.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await finish.wait()
        await echo_path(scope, receive, send)

    connection, transport = connect(application, head_timeout=0.05)
    if together:
        connection.data_received(GET + rest)
    else:
        connection.data_received(GET)
        await asyncio.sleep(0)
        connection.data_received(rest)
    await asyncio.sleep(0.1)
    connection.data_received(GET)
    assert (transport.written, transport.is_half_closed, transport.is_closed) == ([], False, False)
    finish.set()
    await settle(lambda: transport.written)
    await asyncio.sleep(0)
    assert transport.written == [OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")]
    assert (transport.is_half_closed, transport.is_closed) == (True, False)
    assert not [it for it in caplog.records if it.levelno >= logging.ERROR]


async def test_an_error_in_the_body_of_the_running_request_is_its_response(caplog: pytest.LogCaptureFixture) -> None:
    ended = asyncio.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        await echo_path(scope, receive, send)
        ended.set()

    connection, transport = connect(application)
    connection.data_received(b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    await asyncio.sleep(0)
    connection.data_received(b"no chunk")
    async with asyncio.timeout(SLOW):
        await ended.wait()
    assert [it.split(b"\r\n")[0] for it in transport.written] == [b"HTTP/1.1 400 Bad Request"]
    assert transport.is_half_closed
    assert not [it for it in caplog.records if it.levelno >= logging.ERROR]


async def test_a_url_is_not_kept_after_its_request() -> None:
    queries: list[bytes] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        queries.append(scope["query_string"])
        await echo_path(scope, receive, send)

    connection, transport = connect(application)
    for number in (1, 2):
        connection.data_received(GET.replace(b"/a", b"/a?variables=secret"))
        await settle(lambda: len(transport.written) == number)  # noqa: B023
    first, second = queries
    assert first == second == b"variables=secret"
    assert first is not second


def test_a_signal_that_ends_the_process_is_no_error_of_the_application(caplog: pytest.LogCaptureFixture) -> None:
    async def interrupted(scope: Scope, receive: Receive, send: Send) -> None:
        await echo_path(scope, receive, send)
        raise SystemExit

    async def serve() -> None:
        connection, _ = connect(interrupted)
        connection.data_received(GET)
        await asyncio.sleep(1)

    with pytest.raises(SystemExit):
        asyncio.run(serve())
    assert caplog.records == []
    # nobody awaits the task, which asyncio logs when it is collected: here, not in another test
    gc.collect()

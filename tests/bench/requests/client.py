"""The process that sends requests: `python -m tests.bench.processes client`.

It reads an order a line from standard input and writes the measurement a line to standard output. A connection writes prepared
bytes and sends its next request in the callback that receives the response, without a task or a future, so that the client takes
a fraction of the time of any server.
"""

import asyncio
import re
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, cycle
from typing import cast

import orjson
import uvloop

from tests.bench.client import post
from tests.bench.requests.rows import FRESH

# Responses of each connection without which an order does not end, so that its percentiles mean something. A shorter order only
# shows that it works.
_LEAST_RESPONSES, _SHORT = 3, 0.2
# An order ends after so many times its seconds, even if it has fewer responses.
_LONGEST = 10
# Seconds without any end after which the server hangs.
_HANGS = 120.0

_LEFT = -2
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class ClientFailed(Exception):
    """A server sent an error, or closed a connection."""


@dataclass(frozen=True, slots=True)
class Order:
    """Bodies to send in turn to a port, over so many connections, for so many seconds, or `requests` of them if that is not 0."""

    port: int
    key: str
    bodies: list[str]
    connections: int
    seconds: float
    requests: int = 0


@dataclass(frozen=True, slots=True)
class Measurement:
    """The responses of an order: their number in so many seconds, and percentiles of their duration in milliseconds.

    `sent` counts all requests, those included that were answered when the seconds were over.
    """

    answered: int
    seconds: float
    p50: float
    p99: float
    sent: int


def run() -> None:
    """Carry out one order after the other, until there are no more."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for line in sys.stdin.buffer:
            try:
                result: object = runner.run(_carry_out(Order(**orjson.loads(line))))
            except (ClientFailed, OSError) as error:
                result = {"error": str(error)}
            sys.stdout.buffer.write(orjson.dumps(result) + b"\n")
            sys.stdout.buffer.flush()


async def _carry_out(order: Order) -> Measurement:
    loop = asyncio.get_running_loop()
    connections = [(await loop.create_connection(_Connection, "127.0.0.1", order.port))[1] for _ in range(order.connections)]
    try:
        load = _Load(order, connections)
        await load.run()
    finally:
        for connection in connections:
            connection.close()
    return load.measurement()


def _requests(order: Order) -> Iterator[bytes]:
    """Yield requests without end, the bodies in turn, with a new number where they have a place for one."""
    fresh, numbers = FRESH.encode(), count(time.time_ns())
    for request in cycle([post(order.port, body.encode(), order.key) for body in order.bodies]):
        yield request.replace(fresh, b"%020d" % next(numbers)) if fresh in request else request


class _Load:
    """The requests of one order."""

    def __init__(self, order: Order, connections: "list[_Connection]") -> None:
        self._order = order
        self._connections = connections
        self._requests = _requests(order)
        self._least = order.requests or (1 if order.seconds < _SHORT else _LEAST_RESPONSES * order.connections)
        self._durations: list[float] = []
        self._sent = 0
        self._active = 0
        self._seconds = 0.0
        self._began = 0.0
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        self._began = time.perf_counter()
        for connection in self._connections:
            self._active += 1
            connection.start(self)
        longest = None if self._order.requests else self._order.seconds * _LONGEST + _HANGS
        async with asyncio.timeout(longest):
            await self._done

    def measurement(self) -> Measurement:
        milliseconds = sorted(it * 1000 for it in self._durations)
        p99 = milliseconds[len(milliseconds) * 99 // 100]
        return Measurement(len(milliseconds), self._seconds, statistics.median(milliseconds), p99, self._sent)

    def next_request(self) -> bytes | None:
        """Return what a connection sends next, or None if it is to send no more."""
        if self._seconds or (self._order.requests and self._sent == self._order.requests):
            return None
        self._sent += 1
        return next(self._requests)

    def add(self, began: float, ended: float) -> None:
        """Count a response, unless the order has ended."""
        if not self._seconds:
            self._durations.append(ended - began)
            elapsed = ended - self._began
            enough = len(self._durations) >= self._least
            if enough if self._order.requests else elapsed >= self._order.seconds * (1 if enough else _LONGEST):
                self._seconds = elapsed

    def leave(self) -> None:
        """Note that a connection sends no more."""
        self._active -= 1
        if not self._active and not self._done.done():
            self._done.set_result(None)

    def fail(self, message: str) -> None:
        if not self._done.done():
            self._done.set_exception(ClientFailed(message))


class _Connection(asyncio.Protocol):
    """A kept-alive connection with one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._load: _Load
        self._received = b""
        # bytes of the response that have not arrived; -1 before its head has; _LEFT if there is none to come
        self._missing = -1
        self._began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport does not declare that it is one
        self._transport = cast(asyncio.Transport, transport)

    def start(self, load: _Load) -> None:
        self._load = load
        self._send()

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._missing >= 0:
            self._missing -= len(data)
        else:
            body = self._received.find(b"\r\n\r\n") + 4
            if body < 4:
                return
            length = _LENGTH.search(self._received, 0, body)
            if length is None or not self._received.startswith(b"HTTP/1.1 200 "):
                self._load.fail(f"Not an answer: {self._received[:2000].decode(errors='replace')}")
                return
            self._missing = body + int(length[1]) - len(self._received)
        if self._missing == 0:
            ended = time.perf_counter()
            if b'"errors":' in self._received:
                self._load.fail(f"An answer with errors: {self._received[:2000].decode(errors='replace')}")
                return
            self._load.add(self._began, ended)
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        # one that sends no more may be closed while others still wait
        if self._missing != _LEFT:
            self._load.fail(f"The server closed a connection: {exc or 'no error'}.")

    def _send(self) -> None:
        request = self._load.next_request()
        if request is None:
            self._missing = _LEFT
            self._load.leave()
            return
        self._received, self._missing = b"", -1
        self._began = time.perf_counter()
        self._transport.write(request)

"""Many clients in one process. Each sends requests over one connection until the time is over."""

import asyncio
import random
import re
import socket
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import uvloop

from tests.bench.client import HttpConnection
from tests.bench.processes import running

# In a request: replaced by a number that no other request of the group has, so that the document is new each time.
UNIQUE = "_UNIQUE_"
# Requests that a client that pipelines writes at once.
_PIPELINED = 64
# Requests that a slow reader sends before it reads, and the bytes that it reads a second.
_UNREAD = 20
_READ_A_SECOND = 4_096
# Bytes of a body without an end that are written at once.
_PART = b" " * 262_144
# Longer than the service lets any request take.
_HANGS = 45.0
# How long a client that leaves waits before it does.
_LEAVES_AFTER = 0.05

# Outcomes without a response: the client left, the server closed the connection, or nothing happened at all.
LEFT, CLOSED, HUNG = "left", "closed", "hung"

_CODE = re.compile(rb'"code":"([A-Z_]+)"')
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


@dataclass(frozen=True, slots=True)
class RequestKind:
    """Whole requests, one of which is drawn at random. The weight is relative to the other kinds of a group."""

    name: str
    weight: int
    variants: list[str]


@dataclass(frozen=True, slots=True)
class Group:
    """Clients that behave alike.

    `retries`: a client waits as long as the response asks and sends the same request again. `rushes`: it never waits. `drips`: it
    sends a byte a second of the last line. `leaves`: it closes the connection before the response is there. `pipelines`: it
    writes requests back to back and reads all responses. `reads slowly`: it sends requests and reads little of the responses.
    `holds`: it sends one request and keeps the connection. `sends on`: it sends a head, and a body without an end.
    """

    name: str
    clients: int
    requests: list[RequestKind]
    behaviour: str = "retries"


@dataclass(frozen=True, slots=True)
class Plan:
    """The port to connect to, the start by the clock of this machine, and the duration in seconds.

    `cut`: clients leave at the end, instead of waiting for their responses. `address`: they connect from it.
    """

    port: int
    start: float
    seconds: float
    groups: list[Group]
    cut: bool = False
    address: str = "127.0.0.1"


@dataclass(slots=True)
class CrowdResult:
    """Durations in seconds: of requests by group, kind and outcome; by group until a request had a response, with all retries;
    and the CPU time of the crowd itself."""

    durations: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    until_answered: dict[str, list[float]] = field(default_factory=dict)
    cpu: float = 0.0


class CrowdFailed(Exception):
    """The process of a crowd ended early. The message holds the end of its log."""


async def run_in_process(path: Path, plan: Plan) -> Any:
    """Carry out a plan in another process, with files beside this path. Return its result."""
    plan_file, result_file, log = (path.with_suffix(it) for it in (".plan", ".result", ".log"))
    plan_file.write_bytes(orjson.dumps(plan))
    with running(log, {}, "crowd", str(plan_file), str(result_file)) as process:
        if await process.wait():
            raise CrowdFailed(f"A crowd ended early: {process.output()[-2000:]}")
    return orjson.loads(result_file.read_bytes())


def run(plan: Path, result: Path) -> None:
    """Carry out the plan in one file and write the result to another."""
    content = orjson.loads(plan.read_bytes())
    groups = [Group(**{**it, "requests": [RequestKind(**kind) for kind in it["requests"]]}) for it in content.pop("groups")]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result.write_bytes(orjson.dumps(runner.run(carry_out(Plan(**content, groups=groups)))))


async def carry_out(plan: Plan) -> CrowdResult:
    """Carry out a plan in this process."""
    clients = [Client(plan.port, group, number, plan.address) for group in plan.groups for number in range(group.clients)]
    await asyncio.gather(*(client.connect() for client in clients), return_exceptions=True)
    await asyncio.sleep(max(0, plan.start - time.time()))
    cpu = time.process_time()
    end = time.perf_counter() + plan.seconds
    await asyncio.gather(*(client.run_until(end, cut=plan.cut) for client in clients))
    result = CrowdResult(cpu=time.process_time() - cpu)
    for client in clients:
        of_group = result.durations.setdefault(client.group.name, {})
        for (name, outcome), durations in client.durations.items():
            of_group.setdefault(name, {}).setdefault(outcome, []).extend(durations)
        result.until_answered.setdefault(client.group.name, []).extend(client.until_answered)
    return result


class Client:
    """A client of a group. It opens a new connection when it has lost its own."""

    def __init__(self, port: int, group: Group, number: int, address: str) -> None:
        self.group = group
        self.durations: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        self.until_answered: list[float] = []
        self._port = port
        self._source = (address, 0)
        self._random = random.Random(f"{group.name}/{number}")
        self._connection: HttpConnection | None = None
        behaviours: dict[str, Callable[[RequestKind, bytes, float], Awaitable[None]]] = {
            "retries": self._retry,
            "rushes": self._rush,
            "drips": self._drip,
            "leaves": self._leave,
            "pipelines": self._pipeline,
            "reads slowly": self._read_slowly,
            "holds": self._hold,
            "sends on": self._send_on,
        }
        self._behave = behaviours[group.behaviour]

    async def connect(self) -> HttpConnection:
        if self._connection is None or self._connection.closed:
            _, self._connection = await asyncio.get_running_loop().create_connection(
                HttpConnection, "127.0.0.1", self._port, local_addr=self._source
            )
        return self._connection

    async def run_until(self, end: float, *, cut: bool = False) -> None:
        """Send requests until the end. If `cut`, leave at the end with what is outstanding."""
        weights = [it.weight for it in self.group.requests]
        began, kind = time.perf_counter(), self.group.requests[0]
        try:
            async with asyncio.timeout(end - began if cut else None):
                while time.perf_counter() < end:
                    began = time.perf_counter()
                    (kind,) = self._random.choices(self.group.requests, weights)
                    await self._behave(kind, self._unique(self._random.choice(kind.variants)).encode(), end)
        except TimeoutError:
            self.durations[kind.name, LEFT].append(time.perf_counter() - began)
            if self._connection is not None:
                self._connection.abort()
        finally:
            if self._connection is not None:
                await self._connection.leave()

    def _unique(self, request: str) -> str:
        if UNIQUE not in request:
            return request
        return request.replace(UNIQUE, f"{self._random.getrandbits(32):0{len(UNIQUE)}x}")

    async def _retry(self, kind: RequestKind, request: bytes, end: float) -> None:
        """Send a request until it has a response, or the time is over."""
        began = time.perf_counter()
        while (wait := await self._send(kind, request)) is not None:
            # with jitter, as clients should
            await asyncio.sleep(wait * self._random.uniform(1, 1.5))
            if time.perf_counter() >= end:
                return
        self.until_answered.append(time.perf_counter() - began)

    async def _rush(self, kind: RequestKind, request: bytes, _end: float) -> None:
        await self._send(kind, request)

    async def _drip(self, kind: RequestKind, request: bytes, _end: float) -> None:
        head, _, rest = request.rpartition(b"\r\n")
        dripping = asyncio.create_task(self._send_slowly(await self.connect(), rest))
        try:
            await self._send(kind, head + b"\r\n")
        finally:
            dripping.cancel()

    async def _send_slowly(self, connection: HttpConnection, rest: bytes) -> None:
        for byte in rest:
            await asyncio.sleep(1)
            connection.write(bytes([byte]))

    async def _leave(self, kind: RequestKind, request: bytes, _end: float) -> None:
        connection = await self.connect()
        began = time.perf_counter()
        response = connection.send(request)
        await asyncio.wait([response], timeout=_LEAVES_AFTER)
        outcome = outcome_of(connection, response.result()) if response.done() and not response.exception() else LEFT
        connection.abort()
        self.durations[kind.name, outcome].append(time.perf_counter() - began)

    async def _pipeline(self, kind: RequestKind, request: bytes, end: float) -> None:
        """Write requests as fast as the connection takes them, and read all responses."""
        await self._write_on(kind, b"", request * _PIPELINED, end)

    async def _send_on(self, kind: RequestKind, head: bytes, end: float) -> None:
        """Send a head, and a body as fast as the connection takes it."""
        await self._write_on(kind, head, _PART, end)

    async def _write_on(self, kind: RequestKind, first: bytes, part: bytes, end: float) -> None:
        """Write a part again and again, and read all responses, until the server closes the connection."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port, local_addr=self._source)
        except OSError:
            # not again at once: the client would do nothing else
            await asyncio.sleep(_LEAVES_AFTER)
            self.durations[kind.name, CLOSED].append(0.0)
            return
        reading = asyncio.create_task(self._count_responses(kind, reader))
        try:
            writer.write(first)
            while time.perf_counter() < end and not reading.done():
                writer.write(part)
                await writer.drain()
        except OSError:
            self.durations[kind.name, CLOSED].append(0.0)
        finally:
            reading.cancel()
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

    async def _count_responses(self, kind: RequestKind, reader: asyncio.StreamReader) -> None:
        latest = time.perf_counter()
        while received := await reader.read(2**16):
            now = time.perf_counter()
            for status in _STATUS.findall(received):
                self.durations[kind.name, status.decode()].append(now - latest)
                latest = now

    async def _read_slowly(self, kind: RequestKind, request: bytes, end: float) -> None:
        """Send many requests, and read a little of the responses a second until the server closes the connection."""
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        with socket.socket() as connection:
            connection.setblocking(False)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _READ_A_SECOND)
            try:
                connection.bind(self._source)
                await loop.sock_connect(connection, ("127.0.0.1", self._port))
                await loop.sock_sendall(connection, request * _UNREAD)
                while time.perf_counter() < end:
                    if not await loop.sock_recv(connection, _READ_A_SECOND):
                        break
                    await asyncio.sleep(1)
            except OSError:
                pass
        self.durations[kind.name, LEFT if time.perf_counter() >= end else CLOSED].append(time.perf_counter() - began)

    async def _hold(self, kind: RequestKind, request: bytes, end: float) -> None:
        """Send one request, and keep the connection until the server closes it."""
        await self._send(kind, request)
        if self._connection is not None and not self._connection.closed:
            await asyncio.wait([self._connection.lost], timeout=max(0, end - time.perf_counter()))
        else:
            # many that are refused and connect again at once would measure the kernel
            await asyncio.sleep(1)

    async def _send(self, kind: RequestKind, request: bytes) -> float | None:
        """Send a request once. Return how many seconds to wait before a retry, or None if the response asks for none."""
        began = time.perf_counter()
        try:
            connection = await self.connect()
        except OSError:
            # not again at once: the client would do nothing else
            await asyncio.sleep(_LEAVES_AFTER)
            self.durations[kind.name, CLOSED].append(time.perf_counter() - began)
            return None
        try:
            async with asyncio.timeout(_HANGS):
                body = await connection.send(request)
            outcome, wait = outcome_of(connection, body), connection.header(b"retry-after")
        except TimeoutError:
            outcome, wait = HUNG, None
            connection.abort()
        except OSError:
            outcome, wait = CLOSED, None
        else:
            if connection.header(b"connection") == b"close":
                connection.close()
        self.durations[kind.name, outcome].append(time.perf_counter() - began)
        return None if wait is None else float(wait)


def outcome_of(connection: HttpConnection, body: bytes) -> str:
    """Return the status of a response and the code of its first error, if it has one."""
    code = _CODE.search(body) if b'"errors":[' in body else None
    return f"{connection.status} {code[1].decode()}" if code else str(connection.status)

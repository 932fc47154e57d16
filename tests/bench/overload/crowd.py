"""Many clients in one process. Each sends requests over one connection until the time is over."""

import asyncio
import random
import re
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import uvloop

from tests.bench.client import HttpConnection

# Longer than the service lets any request take.
_HANGS = 45.0
# How long a client that leaves waits before it does.
_LEAVES_AFTER = 0.05

# Outcomes without a response: the client left, the server closed the connection, or nothing happened at all.
LEFT, CLOSED, HUNG = "left", "closed", "hung"

_CODE = re.compile(rb'"code":"([A-Z_]+)"')


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
    sends a byte a second of the last line. `leaves`: it closes the connection before the response is there.
    """

    name: str
    clients: int
    requests: list[RequestKind]
    behaviour: str = "retries"


@dataclass(frozen=True, slots=True)
class Plan:
    """The port to connect to, the start by the clock of this machine, and the duration in seconds."""

    port: int
    start: float
    seconds: float
    groups: list[Group]


@dataclass(slots=True)
class CrowdResult:
    """Durations in seconds: of requests by group, kind and outcome; by group until a request had a response, with all retries;
    and the CPU time of the crowd itself."""

    durations: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    until_answered: dict[str, list[float]] = field(default_factory=dict)
    cpu: float = 0.0


def run(plan: Path, result: Path) -> None:
    """Carry out the plan in one file and write the result to another."""
    content = orjson.loads(plan.read_bytes())
    groups = [Group(**{**it, "requests": [RequestKind(**kind) for kind in it["requests"]]}) for it in content.pop("groups")]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result.write_bytes(orjson.dumps(runner.run(_run(Plan(**content, groups=groups)))))


async def _run(plan: Plan) -> CrowdResult:
    clients = [_Client(plan.port, group, number) for group in plan.groups for number in range(group.clients)]
    await asyncio.gather(*(client.connect() for client in clients))
    await asyncio.sleep(max(0, plan.start - time.time()))
    cpu = time.process_time()
    end = time.perf_counter() + plan.seconds
    await asyncio.gather(*(client.run_until(end) for client in clients))
    result = CrowdResult(cpu=time.process_time() - cpu)
    for client in clients:
        of_group = result.durations.setdefault(client.group.name, {})
        for (name, outcome), durations in client.durations.items():
            of_group.setdefault(name, {}).setdefault(outcome, []).extend(durations)
        result.until_answered.setdefault(client.group.name, []).extend(client.until_answered)
    return result


class _Client:
    """A client of a group. It opens a new connection when it has lost its own."""

    def __init__(self, port: int, group: Group, number: int) -> None:
        self.group = group
        self.durations: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        self.until_answered: list[float] = []
        self._port = port
        self._random = random.Random(f"{group.name}/{number}")
        self._connection: HttpConnection | None = None
        behaviours: dict[str, Callable[[RequestKind, bytes, float], Awaitable[None]]] = {
            "retries": self._retry,
            "rushes": self._rush,
            "drips": self._drip,
            "leaves": self._leave,
        }
        self._behave = behaviours[group.behaviour]

    async def connect(self) -> HttpConnection:
        if self._connection is None or self._connection.closed:
            _, self._connection = await asyncio.get_running_loop().create_connection(HttpConnection, "127.0.0.1", self._port)
        return self._connection

    async def run_until(self, end: float) -> None:
        weights = [it.weight for it in self.group.requests]
        while time.perf_counter() < end:
            (kind,) = self._random.choices(self.group.requests, weights)
            await self._behave(kind, self._random.choice(kind.variants).encode(), end)
        if self._connection is not None:
            self._connection.close()

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
        outcome = _outcome(connection, response.result()) if response.done() and not response.exception() else LEFT
        connection.abort()
        self.durations[kind.name, outcome].append(time.perf_counter() - began)

    async def _send(self, kind: RequestKind, request: bytes) -> float | None:
        """Send a request once. Return how many seconds to wait before a retry, or None if the response asks for none."""
        connection = await self.connect()
        began = time.perf_counter()
        try:
            async with asyncio.timeout(_HANGS):
                body = await connection.send(request)
            outcome, wait = _outcome(connection, body), connection.header(b"retry-after")
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


def _outcome(connection: HttpConnection, body: bytes) -> str:
    """Return the status of a response and the code of its first error, if it has one."""
    code = _CODE.search(body) if b'"errors":[' in body else None
    return f"{connection.status} {code[1].decode()}" if code else str(connection.status)

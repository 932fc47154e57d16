"""A crowd of clients, in a process of its own: each asks over one connection, again and again, until the time is over."""

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

# Longer than the service lets anything take.
_HANGS = 45.0
# How long somebody waits for an answer who does not wait for it.
_IMPATIENCE = 0.05

# How it ended where no answer came: the client went away, the server did, or nothing came at all.
LEFT, CLOSED, HUNG = "left", "closed", "hung"

_CODE = re.compile(rb'"code":"([A-Z_]+)"')


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that may be drawn, whole, in some variants; the weight says how often it is."""

    name: str
    weight: int
    variants: list[str]


@dataclass(frozen=True, slots=True)
class Part:
    """What so many clients of a crowd do. Who `asks` waits when told to, and asks the same again; who `rushes` never waits; who
    `drips` sends a byte a second of the last line; who `leaves` does so before the answer is there."""

    name: str
    clients: int
    asked: list[Asked]
    manner: str = "asks"


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a crowd asks, from which instant on, by the clock of this machine, and for how many seconds."""

    port: int
    begins: float
    seconds: float
    parts: list[Part]


@dataclass(slots=True)
class Told:
    """What a crowd met with. Seconds that requests took, by part, name and outcome; by part those until an answer came, with all
    waiting; and those for which the crowd itself kept a processor busy."""

    taken: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    until_answered: dict[str, list[float]] = field(default_factory=dict)
    processor: float = 0.0


def play(plan: Path, told: Path) -> None:
    """Do what a plan says, and write down what came of it."""
    read = orjson.loads(plan.read_bytes())
    parts = [Part(**{**it, "asked": [Asked(**asked) for asked in it["asked"]]}) for it in read.pop("parts")]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        told.write_bytes(orjson.dumps(runner.run(_play(Plan(**read, parts=parts)))))


async def _play(plan: Plan) -> Told:
    clients = [_Client(plan.port, part, number) for part in plan.parts for number in range(part.clients)]
    await asyncio.gather(*(client.connect() for client in clients))
    await asyncio.sleep(max(0, plan.begins - time.time()))
    worked = time.process_time()
    until = time.perf_counter() + plan.seconds
    await asyncio.gather(*(client.go_on(until) for client in clients))
    told = Told(processor=time.process_time() - worked)
    for client in clients:
        of_part = told.taken.setdefault(client.part.name, {})
        for (name, outcome), taken in client.taken.items():
            of_part.setdefault(name, {}).setdefault(outcome, []).extend(taken)
        told.until_answered.setdefault(client.part.name, []).extend(client.until_answered)
    return told


class _Client:
    """One of a part, with a connection of its own, which it makes anew when it has lost it."""

    def __init__(self, port: int, part: Part, number: int) -> None:
        self.part = part
        self.taken: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        self.until_answered: list[float] = []
        self._port = port
        self._chance = random.Random(f"{part.name}/{number}")
        self._connection: HttpConnection | None = None
        manners: dict[str, Callable[[Asked, bytes, float], Awaitable[None]]] = {
            "asks": self._ask,
            "rushes": self._rush,
            "drips": self._drip,
            "leaves": self._leave,
        }
        self._manner = manners[part.manner]

    async def connect(self) -> HttpConnection:
        if self._connection is None or self._connection.closed:
            _, self._connection = await asyncio.get_running_loop().create_connection(HttpConnection, "127.0.0.1", self._port)
        return self._connection

    async def go_on(self, until: float) -> None:
        weights = [it.weight for it in self.part.asked]
        while time.perf_counter() < until:
            (asked,) = self._chance.choices(self.part.asked, weights)
            await self._manner(asked, self._chance.choice(asked.variants).encode(), until)
        if self._connection is not None:
            self._connection.close()

    async def _ask(self, asked: Asked, request: bytes, until: float) -> None:
        """Ask until there is an answer, or the time is over."""
        began = time.perf_counter()
        while (wait := await self._once(asked, request)) is not None:
            # as clients should, not all at the same moment
            await asyncio.sleep(wait * self._chance.uniform(1, 1.5))
            if time.perf_counter() >= until:
                return
        self.until_answered.append(time.perf_counter() - began)

    async def _rush(self, asked: Asked, request: bytes, _: float) -> None:
        await self._once(asked, request)

    async def _drip(self, asked: Asked, request: bytes, _until: float) -> None:
        head, _, rest = request.rpartition(b"\r\n")
        dripping = asyncio.create_task(self._send_slowly(await self.connect(), rest))
        try:
            await self._once(asked, head + b"\r\n")
        finally:
            dripping.cancel()

    async def _send_slowly(self, connection: HttpConnection, rest: bytes) -> None:
        for byte in rest:
            await asyncio.sleep(1)
            connection.write(bytes([byte]))

    async def _leave(self, asked: Asked, request: bytes, _: float) -> None:
        connection = await self.connect()
        began = time.perf_counter()
        answer = connection.ask(request)
        await asyncio.wait([answer], timeout=_IMPATIENCE)
        outcome = _outcome(connection, answer.result()) if answer.done() and not answer.exception() else LEFT
        connection.abort()
        self.taken[asked.name, outcome].append(time.perf_counter() - began)

    async def _once(self, asked: Asked, request: bytes) -> float | None:
        """Ask once; how many seconds to wait before asking the same again, if that is what came of it."""
        connection = await self.connect()
        began = time.perf_counter()
        try:
            async with asyncio.timeout(_HANGS):
                body = await connection.ask(request)
            outcome, wait = _outcome(connection, body), connection.header(b"retry-after")
        except TimeoutError:
            outcome, wait = HUNG, None
            connection.abort()
        except OSError:
            outcome, wait = CLOSED, None
        else:
            if connection.header(b"connection") == b"close":
                connection.close()
        self.taken[asked.name, outcome].append(time.perf_counter() - began)
        return None if wait is None else float(wait)


def _outcome(connection: HttpConnection, body: bytes) -> str:
    """The status of an answer and, if there is an error in it, the code of the first."""
    code = _CODE.search(body) if b'"errors":[' in body else None
    return f"{connection.status} {code[1].decode()}" if code else str(connection.status)

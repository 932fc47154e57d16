"""Measures rows: service and floor in turn, round after round, so that what disturbs the machine disturbs both."""

import asyncio
import gc
import itertools
import re
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

import asyncpg
import orjson

from tests.bench.client import HttpConnection, connected, post
from tests.bench.data import plain_address
from tests.bench.recording import Recording, Sample
from tests.bench.replay import FRESH, read_script, replay
from tests.bench.rows import Row

CONNECTIONS = 4
# A row is measured for at least this long a slice, whatever the time that all rows together should take.
SHORTEST_SLICE = 0.05
_SLICES = 5
_HANGS = 60.0

_REQUEST_ID = re.compile(rb'"requestId":"[^"]*"')

Ask = Callable[[HttpConnection, bytes], Awaitable[bytes]]


class NotComparable(Exception):
    """Floor and service did not do the same, so there is nothing to compare."""


@dataclass(slots=True)
class Figures:
    """What was measured of one of the sides: medians and 95th percentiles in seconds, and requests a second, one a round."""

    medians: list[float] = field(default_factory=list)
    slow: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def add(self, taken: list[float]) -> None:
        self.medians.append(statistics.median(taken))
        self.slow.append(statistics.quantiles(taken, n=20, method="inclusive")[-1] if len(taken) > 1 else taken[0])

    @property
    def median(self) -> float:
        return statistics.median(self.medians)

    @property
    def p95(self) -> float:
        return statistics.median(self.slow)

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)


@dataclass(slots=True)
class Result:
    """One row of the table."""

    row: Row
    floor: Figures = field(default_factory=Figures)
    service: Figures = field(default_factory=Figures)
    sql: Figures = field(default_factory=Figures)

    @property
    def ratio(self) -> float:
        return self.service.median / self.floor.median

    @property
    def ratio_range(self) -> tuple[float, float]:
        """The least and the greatest ratio of a round: how far to trust the median."""
        ratios = [service / floor for service, floor in zip(self.service.medians, self.floor.medians, strict=True)]
        return min(ratios), max(ratios)

    @property
    def rate_ratio(self) -> float:
        return self.floor.rate / self.service.rate


async def measure(
    address: str, recording: Recording, rows: list[Row], *, floor: int, service: int, key: str, rounds: int, seconds: float
) -> list[Result]:
    """Measure rows at two ports, in about so many seconds in all. Rows that stand beside each other take turns too."""
    length = max(seconds / (len(rows) * (rounds * _SLICES + 1)), SHORTEST_SLICE)
    owner = await asyncpg.connect(plain_address(address))
    held = await asyncpg.connect(plain_address(address), server_settings=recording.server_settings)
    gc.collect()
    gc.freeze()
    courses = [_Course(row, recording.rows[row.name], floor, service, key, held, owner) for row in rows]
    try:
        for _, beside in itertools.groupby(courses, key=lambda course: course.row.beside or course.row.name):
            together = list(beside)
            for course in together:
                await course.begin(length)
            for _ in range(rounds):
                for course in together:
                    await course.measure(length)
            for course in together:
                await course.end()
        return [course.result for course in courses]
    finally:
        await held.close()
        await owner.close()


class _Course:
    """The measuring of one row."""

    def __init__(
        self,
        row: Row,
        samples: list[Sample],
        floor: int,
        service: int,
        key: str,
        held: "asyncpg.Connection[asyncpg.Record]",
        owner: "asyncpg.Connection[asyncpg.Record]",
    ) -> None:
        self.row = row
        self.result = Result(row)
        self._held = held
        self._owner = owner
        self._floor = floor
        self._service = service
        self._scripts = [read_script(sample.statements) for sample in samples]
        bodies = [_body(row, number) for number in range(len(samples))]
        self._requests = {port: [post(port, body, key) for body in bodies] for port in (floor, service)}
        # numbers that no earlier run has left in the database
        self._numbers = itertools.count(time.time_ns() // 1000)
        self._done = 0
        self._changes_at_first = 0
        self._changes_each = 0
        self._sides = [(floor, self.result.floor), (service, self.result.service)]

    async def begin(self, length: float) -> None:
        self._changes_at_first = await self._changes()
        self._changes_each = await self._compare()
        for port in (self._floor, self._service):
            await self._drive(port, CONNECTIONS, length / 2)  # pools fill, plans and compiled statements are remembered

    async def measure(self, length: float) -> None:
        """One round."""
        self.result.sql.add(await self._sql_alone(length))
        for port, figures in self._sides:
            figures.add((await self._drive(port, 1, length))[0])
        for port, figures in self._sides:
            taken, elapsed = await self._drive(port, CONNECTIONS, length)
            figures.rates.append(len(taken) / elapsed)
        self._sides.reverse()

    async def end(self) -> None:
        """See that every request did what it should."""
        changes = await self._changes() - self._changes_at_first
        if changes != self._changes_each * self._done:
            raise NotComparable(f"{self.row.name}: {self._done} requests made {changes} changes, not {self._changes_each} each.")

    async def _compare(self) -> int:
        """Hold the answers of both sides against each other, each sample; gives how much each request writes."""
        changes = {self._floor: 0, self._service: 0}
        answers: dict[int, list[bytes]] = {}
        for port in changes:
            before = await self._changes()
            async with connected(port, 1) as (connection,):
                answers[port] = [await self._ask(connection, port, number) for number in range(len(self._scripts))]
            changes[port] = await self._changes() - before
        for of_floor, of_service in zip(answers[self._floor], answers[self._service], strict=True):
            if of_floor != of_service:
                raise NotComparable(f"{self.row.name}: the floor sends\n{of_floor!r}\nand the service\n{of_service!r}")
        each, rest = divmod(changes[self._service], len(self._scripts))
        if changes[self._floor] != changes[self._service] or rest or (each > 0) is not self.row.writes:
            raise NotComparable(
                f"{self.row.name}: {len(self._scripts)} requests made {changes[self._floor]} changes through the floor "
                f"and {changes[self._service]} through the service."
            )
        return each

    async def _ask(self, connection: HttpConnection, port: int, number: int) -> bytes:
        """One answer, without what is different in each."""
        fresh = self._fresh()
        answer = await connection.ask(self._requests[port][number].replace(FRESH.encode(), fresh.encode()))
        return _REQUEST_ID.sub(b'"requestId":""', answer.replace(fresh.encode(), FRESH.encode()))

    async def _drive(self, port: int, number: int, length: float) -> tuple[list[float], float]:
        """Ask over so many connections for so long; gives what each request took, and how long it was in the end."""
        taken: list[float] = []
        requests = self._take(port)
        async with asyncio.timeout(length + _HANGS), connected(port, number) as connections:
            # all at once: a connection that waited for slow answers on others would be closed meanwhile
            for answer in await asyncio.gather(*(connection.ask(next(requests)) for connection in connections)):
                _check(answer)
            began = time.perf_counter()
            await asyncio.gather(*(_ask_until(connection, requests, began + length, taken) for connection in connections))
            return taken, time.perf_counter() - began

    async def _sql_alone(self, length: float) -> list[float]:
        taken: list[float] = []
        scripts = itertools.cycle(self._scripts)
        deadline = time.perf_counter() + length
        while not taken or time.perf_counter() < deadline:
            fresh = self._fresh()
            began = time.perf_counter()
            await replay(next(scripts), self._held, fresh)
            taken.append(time.perf_counter() - began)
        return taken

    def _take(self, port: int) -> Iterator[bytes]:
        """Requests without end, the samples in turn."""
        for request in itertools.cycle(self._requests[port]):
            fresh = self._fresh()
            yield request.replace(FRESH.encode(), fresh.encode()) if self.row.writes else request

    def _fresh(self) -> str:
        self._done += 1
        return f"{next(self._numbers):0{len(FRESH)}}"

    async def _changes(self) -> int:
        # the log also holds what was said and changed nothing
        return int(await self._owner.fetchval("SELECT count(*) FROM change WHERE changed"))


async def _ask_until(connection: HttpConnection, requests: Iterator[bytes], deadline: float, taken: list[float]) -> None:
    while True:
        request = next(requests)
        began = time.perf_counter()
        answer = await connection.ask(request)
        ended = time.perf_counter()
        _check(answer)
        taken.append(ended - began)
        if ended >= deadline:
            return


def _check(answer: bytes) -> None:
    if not answer.startswith(b'{"data":{') or b'"errors":' in answer:
        raise NotComparable(f"An answer with errors: {answer!r}")


def _body(row: Row, sample: int) -> bytes:
    """The service passes over the extensions; the floor goes by them."""
    bench = {"row": row.name, "sample": sample, "fresh": FRESH}
    return orjson.dumps({"query": row.document, "variables": row.variables(sample), "extensions": {"bench": bench}})

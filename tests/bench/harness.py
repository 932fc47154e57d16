"""Measure rows: the service and the baseline server in turn, round after round, so that a disturbance slows down both."""

import asyncio
import gc
import itertools
import re
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import asyncpg
import orjson

from tests.bench.client import HttpConnection, connected, post
from tests.bench.data import plain_address
from tests.bench.recording import Recording, Sample
from tests.bench.replay import FRESH, read_script, replay
from tests.bench.rows import Row

CONNECTIONS = 4
# Shortest measurement of one side in a round, in seconds, even if all rows together take longer then.
SHORTEST_SLICE = 0.05
_SLICES = 5
_HANGS = 60.0

_REQUEST_ID = re.compile(rb'"requestId":"[^"]*"')


class NotComparable(Exception):
    """The baseline server and the service did different things, so their figures cannot be compared."""


@dataclass(slots=True)
class Figures:
    """Measurements of one side: medians and 95th percentiles in seconds, and requests a second, one of each a round."""

    medians: list[float] = field(default_factory=list)
    percentiles: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def add(self, durations: list[float]) -> None:
        self.medians.append(statistics.median(durations))
        percentile = statistics.quantiles(durations, n=20, method="inclusive")[-1] if len(durations) > 1 else durations[0]
        self.percentiles.append(percentile)

    @property
    def median(self) -> float:
        return statistics.median(self.medians)

    @property
    def p95(self) -> float:
        return statistics.median(self.percentiles)

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)


@dataclass(slots=True)
class Result:
    """One row of the table."""

    row: Row
    baseline: Figures = field(default_factory=Figures)
    service: Figures = field(default_factory=Figures)
    sql: Figures = field(default_factory=Figures)

    @property
    def ratio(self) -> float:
        return self.service.median / self.baseline.median

    @property
    def ratio_range(self) -> tuple[float, float]:
        """The lowest and the highest ratio of a round, which show how exact the median is."""
        ratios = [service / baseline for service, baseline in zip(self.service.medians, self.baseline.medians, strict=True)]
        return min(ratios), max(ratios)

    @property
    def rate_ratio(self) -> float:
        return self.baseline.rate / self.service.rate


async def measure(
    address: str, recording: Recording, rows: list[Row], *, baseline: int, service: int, key: str, rounds: int, seconds: float
) -> list[Result]:
    """Measure rows at the ports of both servers, in about so many seconds in all. Measure rows that are compared in turn."""
    length = max(seconds / (len(rows) * (rounds * _SLICES + 1)), SHORTEST_SLICE)
    owner = await asyncpg.connect(plain_address(address))
    held = await asyncpg.connect(plain_address(address), server_settings=recording.server_settings)
    gc.collect()
    gc.freeze()
    measurements = [_Measurement(row, recording.rows[row.name], baseline, service, key, held, owner) for row in rows]
    try:
        for _, compared in itertools.groupby(measurements, key=lambda it: it.row.compared_with or it.row.name):
            group = list(compared)
            for measurement in group:
                await measurement.prepare(length)
            for _ in range(rounds):
                for measurement in group:
                    await measurement.run_round(length)
            for measurement in group:
                await measurement.check_changes()
        return [it.result for it in measurements]
    finally:
        await held.close()
        await owner.close()


class _Measurement:
    """The measurement of one row."""

    def __init__(
        self,
        row: Row,
        samples: list[Sample],
        baseline: int,
        service: int,
        key: str,
        held: "asyncpg.Connection[asyncpg.Record]",
        owner: "asyncpg.Connection[asyncpg.Record]",
    ) -> None:
        self.row = row
        self.result = Result(row)
        self._held = held
        self._owner = owner
        self._baseline = baseline
        self._service = service
        self._scripts = [read_script(sample.statements) for sample in samples]
        bodies = [_body(row, number) for number in range(len(samples))]
        self._requests = {port: [post(port, body, key) for body in bodies] for port in (baseline, service)}
        # numbers that no earlier run has left in the database
        self._numbers = itertools.count(time.time_ns() // 1000)
        self._sent = 0
        self._changes_before = 0
        self._changes_each = 0
        self._sides = [(baseline, self.result.baseline), (service, self.result.service)]

    async def prepare(self, length: float) -> None:
        """Compare the responses of both servers, and fill their pools and caches."""
        self._changes_before = await self._count_changes()
        self._changes_each = await self._compare()
        for port in (self._baseline, self._service):
            await self._send_for(length / 2, port, CONNECTIONS)

    async def run_round(self, length: float) -> None:
        self.result.sql.add(await self._run_sql_for(length))
        for port, figures in self._sides:
            figures.add((await self._send_for(length, port, 1))[0])
        for port, figures in self._sides:
            durations, elapsed = await self._send_for(length, port, CONNECTIONS)
            figures.rates.append(len(durations) / elapsed)
        self._sides.reverse()

    async def check_changes(self) -> None:
        """Check that every request wrote what it should."""
        changes = await self._count_changes() - self._changes_before
        if changes != self._changes_each * self._sent:
            raise NotComparable(f"{self.row.name}: {self._sent} requests made {changes} changes, not {self._changes_each} each.")

    async def _compare(self) -> int:
        """Compare the responses of both servers for each sample. Return the number of changes that each request makes."""
        changes = {self._baseline: 0, self._service: 0}
        responses: dict[int, list[bytes]] = {}
        for port in changes:
            before = await self._count_changes()
            async with connected(port, 1) as (connection,):
                responses[port] = [await self._response(connection, port, number) for number in range(len(self._scripts))]
            changes[port] = await self._count_changes() - before
        for of_baseline, of_service in zip(responses[self._baseline], responses[self._service], strict=True):
            if of_baseline != of_service:
                raise NotComparable(
                    f"{self.row.name}: the baseline server sends\n{of_baseline!r}\nand the service\n{of_service!r}"
                )
        each, rest = divmod(changes[self._service], len(self._scripts))
        if changes[self._baseline] != changes[self._service] or rest or (each > 0) is not self.row.writes:
            raise NotComparable(
                f"{self.row.name}: {len(self._scripts)} requests made {changes[self._baseline]} changes through the baseline "
                f"server and {changes[self._service]} through the service."
            )
        return each

    async def _response(self, connection: HttpConnection, port: int, number: int) -> bytes:
        """Return a response without the parts that differ from request to request."""
        fresh = self._fresh()
        response = await connection.send(self._requests[port][number].replace(FRESH.encode(), fresh.encode()))
        return _REQUEST_ID.sub(b'"requestId":""', response.replace(fresh.encode(), FRESH.encode()))

    async def _send_for(self, length: float, port: int, connection_count: int) -> tuple[list[float], float]:
        """Send requests for so long. Return the duration of each, and the time that passed in all."""
        durations: list[float] = []
        requests = self._request_cycle(port)
        async with asyncio.timeout(length + _HANGS), connected(port, connection_count) as connections:
            # all at once: the server would close a connection that waits for slow responses on the others
            for response in await asyncio.gather(*(connection.send(next(requests)) for connection in connections)):
                _check(response)
            began = time.perf_counter()
            await asyncio.gather(*(_send_until(began + length, connection, requests, durations) for connection in connections))
            return durations, time.perf_counter() - began

    async def _run_sql_for(self, length: float) -> list[float]:
        durations: list[float] = []
        scripts = itertools.cycle(self._scripts)
        deadline = time.perf_counter() + length
        while not durations or time.perf_counter() < deadline:
            fresh = self._fresh()
            began = time.perf_counter()
            await replay(next(scripts), self._held, fresh)
            durations.append(time.perf_counter() - began)
        return durations

    def _request_cycle(self, port: int) -> Iterator[bytes]:
        """Yield requests without end, the samples in turn."""
        for request in itertools.cycle(self._requests[port]):
            fresh = self._fresh()
            yield request.replace(FRESH.encode(), fresh.encode()) if self.row.writes else request

    def _fresh(self) -> str:
        self._sent += 1
        return f"{next(self._numbers):0{len(FRESH)}}"

    async def _count_changes(self) -> int:
        # the log also holds assertions that changed nothing
        return int(await self._owner.fetchval("SELECT count(*) FROM change WHERE changed"))


async def _send_until(deadline: float, connection: HttpConnection, requests: Iterator[bytes], durations: list[float]) -> None:
    while True:
        request = next(requests)
        began = time.perf_counter()
        response = await connection.send(request)
        ended = time.perf_counter()
        _check(response)
        durations.append(ended - began)
        if ended >= deadline:
            return


def _check(response: bytes) -> None:
    if not response.startswith(b'{"data":{') or b'"errors":' in response:
        raise NotComparable(f"A response with errors: {response!r}")


def _body(row: Row, sample: int) -> bytes:
    """Return the body of a request. The service ignores the extensions; the baseline server reads nothing else."""
    bench = {"row": row.name, "sample": sample, "fresh": FRESH}
    return orjson.dumps({"query": row.document, "variables": row.variables(sample), "extensions": {"bench": bench}})

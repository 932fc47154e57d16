"""Measure rows: first their answers are compared, then the servers take turns, round after round, so that a disturbance slows
down all of them."""

import itertools
import statistics
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import asyncpg
import orjson
import psutil

from tests.bench.requests import client
from tests.bench.requests.client import ClientFailed, Order
from tests.bench.requests.pipelines import Size
from tests.bench.requests.rows import FRESH, Row
from tests.bench.requests.servers import HEADWATER, POSTGRAPHILE, LoadClient, Side

CONNECTIONS = (1, 4, 64)
# The connections of the figures that have aims.
AIMED = 4
_WARM_UP = 0.3

# Rows that a write of a product adds. The floor has to add as many.
_WRITTEN = """
SELECT (SELECT count(*) FROM change) AS changes, (SELECT count(*) FROM product_version) AS versions,
  (SELECT count(*) FROM audit) AS audited
"""
_BACKENDS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"

Owner: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class NotComparable(Exception):
    """The servers answered differently, so their figures cannot be compared."""


@dataclass(slots=True)
class Figures:
    """Figures of one server at one number of connections, one of each a round.

    `rates` are requests a second, percentiles milliseconds, and processor seconds those of a thousand requests.
    """

    rates: list[float] = field(default_factory=list)
    p50s: list[float] = field(default_factory=list)
    p99s: list[float] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)
    database_cpus: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)

    @property
    def p50(self) -> float:
        return statistics.median(self.p50s)

    @property
    def p99(self) -> float:
        return statistics.median(self.p99s)

    @property
    def cpu(self) -> float:
        return statistics.median(self.cpus)

    @property
    def database_cpu(self) -> float:
        return statistics.median(self.database_cpus)


@dataclass(slots=True)
class Result:
    """The figures of a row, by the name of the server and the number of connections."""

    row: Row
    figures: dict[tuple[str, int], Figures] = field(default_factory=dict)


class Measurement:
    """The measurement of rows at the servers of one database."""

    def __init__(self, sides: Sequence[Side], load_client: LoadClient, owner: Owner, key: str, size: Size) -> None:
        self._sides = sides
        self._client = load_client
        self._owner = owner
        self._key = key
        self._size = size
        # numbers that no earlier run has left in the database
        self._fresh = itertools.count(time.time_ns())

    async def measure(self, rows: Sequence[Row], rounds: int, seconds: float, done: Callable[[Row], None]) -> list[Result]:
        """Compare the answers of rows, then measure them: so many rounds, each of so many seconds a server and connections.

        A row that is compared with the one before shares its rounds.
        """
        for row in rows:
            await self._compare(row)
        results = []
        for _, group in itertools.groupby(rows, key=lambda it: it.before or it.name):
            measured = [Result(row) for row in group]
            for result in measured:
                for side in self._sides_of(result.row):
                    self._send(result.row, side, AIMED, min(seconds, _WARM_UP))
            for number in range(rounds):
                for result, connections in itertools.product(measured, CONNECTIONS):
                    sides = self._sides_of(result.row)
                    for side in sides if number % 2 else reversed(sides):
                        figures = result.figures.setdefault((side.name, connections), Figures())
                        await self._measure(result.row, side, connections, seconds, figures)
            results += measured
            for result in measured:
                done(result.row)
        return results

    async def _measure(self, row: Row, side: Side, connections: int, seconds: float, figures: Figures) -> None:
        cpu, database = side.cpu(), await self._database_cpu()
        measured = self._send(row, side, connections, seconds)
        thousands = measured.sent / 1000
        figures.rates.append(measured.answered / measured.seconds)
        figures.p50s.append(measured.p50)
        figures.p99s.append(measured.p99)
        figures.cpus.append((side.cpu() - cpu) / thousands)
        after = await self._database_cpu()
        figures.database_cpus.append(sum(after[it] - database.get(it, 0.0) for it in after) / thousands)

    async def _database_cpu(self) -> dict[int, float]:
        """Return the processor seconds of each backend so far. They are unknown if PostgreSQL runs on another machine."""
        seconds = {}
        for row in await self._owner.fetch(_BACKENDS):
            try:
                process = psutil.Process(row["pid"])
                if process.name().startswith("postgres"):
                    times = process.cpu_times()
                    seconds[row["pid"]] = float(times.user + times.system)
            except psutil.NoSuchProcess:
                continue
        return seconds

    async def _compare(self, row: Row) -> None:
        """Compare the answers of all samples, byte for byte, and the number of rows that a write adds."""
        answers: dict[str, list[bytes]] = {}
        written: dict[str, Counter[str]] = {}
        for side in self._sides_of(row):
            before = await self._count_written()
            answers[side.name] = [self._ask(side, body) for body in self._bodies(row, side)]
            after = await self._count_written()
            written[side.name] = after - before
        expected = answers[HEADWATER]
        for name, given in answers.items():
            for one, other in zip(given, expected, strict=True):
                if one != other or not one.startswith(b'{"data":{') or b":null}" in one[:40]:
                    raise NotComparable(f"{row.name}: {name} answers\n{one[:3000]!r}\nand {HEADWATER}\n{other[:3000]!r}")
            if written[name] != written[HEADWATER] or bool(written[name]) is not row.writes:
                raise NotComparable(f"{row.name}: {name} adds rows {written[name]}, {HEADWATER} {written[HEADWATER]}")

    def _ask(self, side: Side, body: str) -> bytes:
        """Return an answer without its extensions, and with the same text where each request has its own."""
        fresh = f"{next(self._fresh):0{len(FRESH)}}"
        headers = {"Content-Type": "application/json", "Accept": "application/json", "X-API-Key": self._key}
        request = urllib.request.Request(f"http://127.0.0.1:{side.port}/graphql", body.replace(FRESH, fresh).encode(), headers)
        with urllib.request.urlopen(request) as response:
            answer: bytes = response.read().replace(fresh.encode(), FRESH.encode())
        without, separator, _ = answer.rpartition(b',"extensions":{')
        return without + b"}" if separator else answer

    def _sides_of(self, row: Row) -> list[Side]:
        return [it for it in self._sides if it.name != POSTGRAPHILE or row.to_postgraphile is not None]

    def _send(self, row: Row, side: Side, connections: int, seconds: float) -> client.Measurement:
        try:
            return self._client.send(Order(side.port, self._key, self._bodies(row, side), connections, seconds))
        except ClientFailed as error:
            raise NotComparable(f"{row.name} over {connections} connections, {side.name}: {error}") from error

    def _bodies(self, row: Row, side: Side) -> list[str]:
        document = row.to_postgraphile if side.name == POSTGRAPHILE else row.document
        samples = range(row.samples(self._size))
        return [orjson.dumps({"query": document, "variables": row.variables(it)}).decode() for it in samples]

    async def _count_written(self) -> Counter[str]:
        return Counter(dict(await self._owner.fetchrow(_WRITTEN) or {}))

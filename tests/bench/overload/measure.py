"""The service under overload: many clients read as fast as they get responses, first alone, then beside attackers."""

import asyncio
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import orjson
import psutil

from db import migrations
from db.tenancy.scope import READ
from tests.bench.client import post
from tests.bench.databases import make_key
from tests.bench.loads.graph import Scale
from tests.bench.loads.measure import Databases
from tests.bench.overload.reads import Read, reads
from tests.bench.processes import Server, running
from tests.siege.attacks import OVERLOAD, Credentials
from tests.siege.crowd import Group, Plan, RequestKind, run_in_process
from tests.siege.tenants import attacker_credentials, fill, settings_of

# Tenants of readers, and API keys of each.
_TENANTS = 3
_KEYS = 2
# Seconds until a crowd starts: its process has to start, and its clients to connect.
_START_DELAY = 1.5
# Seconds after which no statement may run whose client has left.
_SETTLE_TIMEOUT = 5.0
# Most connections of the service with default settings, as documented.
MOST_BACKENDS = 25


class OverloadFailed(Exception):
    """The service did something under overload that it never should."""


@dataclass(frozen=True, slots=True)
class OverloadSize:
    """Numbers of clients, durations of the rounds, and the amount of data."""

    readers: int
    attackers: int
    # of a round
    seconds: float
    warmup: float
    # the graph of every tenant, and the hub of the attackers' tenant, which is larger than a walk may visit
    scale: Scale
    hub: int
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"overload by {self.readers + self.attackers} connections"


WHOLE = OverloadSize(
    readers=180,
    attackers=20,
    seconds=20,
    warmup=3,
    scale=Scale(few=50, many=2, most=0, ordinary=4, chain=10, hub=10, clique=5, cycle=10, tree=11),
    hub=6_000,
)
QUICK = OverloadSize(
    readers=6,
    attackers=10,
    seconds=0.6,
    warmup=0.2,
    scale=Scale(few=2, many=1, most=0, ordinary=1, chain=5, hub=5, clique=3, cycle=5, tree=5),
    hub=150,
    # so that a slow body does not take longer than all other requests
    settings={"HEADWATER_BODY_TIMEOUT": "1"},
)


@dataclass(slots=True)
class Observations:
    """Durations of the requests of some clients in seconds, by kind of request and by outcome."""

    clients: int
    durations: dict[str, dict[str, list[float]]]
    until_answered: list[float]

    @property
    def outcomes(self) -> dict[str, list[float]]:
        """Durations by outcome, of all kinds of requests."""
        merged: dict[str, list[float]] = {}
        for by_outcome in self.durations.values():
            for outcome, durations in by_outcome.items():
                merged.setdefault(outcome, []).extend(durations)
        return merged

    @property
    def answered(self) -> list[float]:
        return self.outcomes.get("200", [])

    @property
    def requests(self) -> int:
        return sum(map(len, self.outcomes.values()))


@dataclass(slots=True)
class Round:
    """Measurements of one round."""

    readers: Observations
    attackers: dict[str, Observations]
    memory: tuple[int, int]
    # CPU seconds of the service, of the clients, and of everything on this machine
    service: float
    clients: float
    machine: float
    elapsed: float
    # connections to the database by application and state, and the seconds until none of them was active
    backends: dict[tuple[str, str], int]
    settled: float | None


@dataclass(slots=True)
class Overload:
    """The rounds without attackers and with them."""

    size: OverloadSize
    readers_only: Round
    with_attackers: Round

    def failures(self) -> Iterator[str]:
        """Describe everything that should never happen."""
        for name, it in (("alone", self.readers_only), ("beside attackers", self.with_attackers)):
            for outcome, durations in it.readers.outcomes.items():
                if outcome not in ("200", "503 UNAVAILABLE"):
                    yield f"Readers {name}: outcome {outcome}, {len(durations)} times."
            if it.settled is None:
                yield f"{_SETTLE_TIMEOUT:g} s after readers {name}, connections are still active: {it.backends}."
            if sum(number for (application, _), number in it.backends.items() if application == "headwater") > MOST_BACKENDS:
                yield f"After readers {name}, the service has more than {MOST_BACKENDS} connections: {it.backends}."
        for attack in OVERLOAD:
            if (observations := self.with_attackers.attackers.get(attack.name)) is None:
                continue
            for outcome, durations in observations.outcomes.items():
                if outcome not in attack.documented:
                    yield f"Attack with {attack.name}: outcome {outcome}, {len(durations)} times."
            if not observations.requests:
                yield f"Attack with {attack.name}: no outcome."


async def measure_overload(databases: Databases, directory: Path, size: OverloadSize) -> Overload:
    """Fill a database, start the service on it with default settings, and run the rounds."""
    name = await databases.create("template0")
    address = databases.address(name)
    await migrations.upgrade(address)
    names = [f"reader-{number}" for number in range(_TENANTS)]
    scales = {**dict.fromkeys(names, size.scale), "hostile": replace(size.scale, hub=size.hub)}
    tenants = await fill(address, scales, directory)
    readers = [await make_key(address, it, READ) for it in tenants[:-1] for _ in range(_KEYS)]
    credentials = await attacker_credentials(address, tenants[-1])
    environment = {**settings_of(address, directory), **size.settings}
    with ExitStack() as stack:
        service = stack.enter_context(running(directory / "overload.log", environment, "service", "serve", "--port", "0"))
        measurement = _Measurement(directory, databases, name, service, size, readers, credentials)
        await measurement.run_round(size.warmup, attack=False)
        readers_only = await measurement.run_round(size.seconds, attack=False)
        with_attackers = await measurement.run_round(size.seconds, attack=True)
    return Overload(size, readers_only, with_attackers)


class _Measurement:
    """The measurement of one service."""

    def __init__(
        self,
        directory: Path,
        databases: Databases,
        database: str,
        service: Server,
        size: OverloadSize,
        readers: list[str],
        credentials: Credentials,
    ) -> None:
        self._directory = directory
        self._databases = databases
        self._database = database
        self._port = service.port()
        self._process = psutil.Process(service.pid)
        self._size = size
        self._readers = readers
        self._credentials = credentials

    async def run_round(self, seconds: float, *, attack: bool) -> Round:
        crowds = [self._reader_groups()]
        if attack:
            crowds.append(self._attacker_groups())
        memory, cpu, machine = self._process.memory_info().rss, _cpu_of(self._process), _cpu_of_machine()
        began = time.monotonic()
        start = time.time() + _START_DELAY
        results = await asyncio.gather(
            *(
                run_in_process(self._directory / f"crowd-{number}", Plan(self._port, start, seconds, groups))
                for number, groups in enumerate(crowds)
            )
        )
        cpu, machine = _cpu_of(self._process) - cpu, _cpu_of_machine() - machine
        elapsed = time.monotonic() - began
        backends, settled = await self._settle()
        observations = [
            {it.name: Observations(it.clients, result["durations"][it.name], result["until_answered"][it.name]) for it in groups}
            for groups, result in zip(crowds, results, strict=True)
        ]
        return Round(
            observations[0]["readers"],
            observations[1] if attack else {},
            (memory, self._process.memory_info().rss),
            cpu,
            sum(it["cpu"] for it in results),
            machine,
            elapsed,
            backends,
            settled,
        )

    def _reader_groups(self) -> list[Group]:
        kinds = [
            RequestKind(
                read.name,
                read.weight,
                [_request(self._port, read, sample, key) for key in self._readers for sample in range(read.samples)],
            )
            for read in reads(self._size.scale)
        ]
        return [Group("readers", self._size.readers, kinds)]

    def _attacker_groups(self) -> list[Group]:
        clients = [_ORDER[number % len(_ORDER)] for number in range(self._size.attackers)]
        return [
            Group(
                it.name,
                clients.count(it),
                [RequestKind(it.name, 1, [it.request(self._port, self._credentials)])],
                it.behaviour,
            )
            for it in OVERLOAD
            if it in clients
        ]

    async def _settle(self) -> tuple[dict[tuple[str, str], int], float | None]:
        """Wait until no connection of the service is active. Return the connections, and the seconds, or None if that takes too
        long."""
        began = time.monotonic()
        while True:
            backends = await self._databases.connections(self._database)
            if all(state == "idle" for _, state in backends):
                return backends, time.monotonic() - began
            if time.monotonic() - began > _SETTLE_TIMEOUT:
                return backends, None
            await asyncio.sleep(0.05)


# One attacker of each kind, and more of those that cost the service more than a refusal.
_ORDER = [*OVERLOAD, *(it for it in OVERLOAD for _ in range(it.more))]


def _cpu_of(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _cpu_of_machine() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)


def _request(port: int, read: Read, sample: int, key: str) -> str:
    body = orjson.dumps({"query": read.document, "variables": read.variables(sample)})
    return post(port, body, key).decode()


def quantile(durations: list[float], percent: int) -> float:
    """Return a percentile of durations, or 0 if there are none."""
    if len(durations) < 2:
        return sum(durations)
    return statistics.quantiles(durations, n=100, method="inclusive")[percent - 1]

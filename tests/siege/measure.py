"""Measurement of attacks: polite clients before, during and after each, the memory of the service, and its recovery."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from db import migrations
from db.tenancy.scope import READ
from tests.bench.databases import make_key
from tests.bench.loads.graph import Scale
from tests.bench.overload.measure import quantile
from tests.bench.processes import running
from tests.siege.attacks import Attack, Credentials
from tests.siege.crowd import LEFT, CrowdResult, Group, Plan, RequestKind, run_in_process
from tests.siege.polite import CLIENTS, HOSTILE_ADDRESS, NEW_TEXT, QUERY, Event, Polite, refused
from tests.siege.tenants import attacker_credentials, fill, settings_of

# Aims: the p99 of polite queries during an attack, as a multiple of the idle one and in seconds, whichever is greater; memory
# some seconds after an attack as a share of that before it, and after a second attack as a share of that after the first.
AIM_TIMES, AIM_SECONDS = 10, 0.15
AIM_MEMORY, AIM_SECOND_ATTACK, SETTLE = 1.25, 1.05, 30.0

# Answers to each polite client before they are measured; seconds until a crowd starts, and without a late answer after an attack.
_WARM_UP = 2
_START_DELAY, _QUIET = 1.5, 2.0
_SAMPLE = 0.1

POLITE_SCALE = Scale(few=5, many=0, most=0, ordinary=2, chain=5, hub=5, clique=3, cycle=5, tree=5)
HOSTILE_SCALE = Scale(few=50, many=2, most=0, ordinary=20, chain=10, hub=6_000, clique=100, cycle=1_000, tree=1_111)
_PRODUCT = "000000 of few-0"


@dataclass(frozen=True, slots=True)
class Ground:
    """A database with polite tenants and a hostile one: its address, a product and keys of the polite ones, and credentials of
    the attackers."""

    address: str
    product: str
    keys: list[str]
    credentials: Credentials
    settings: dict[str, str]


@dataclass(frozen=True, slots=True)
class Phase:
    """Polite queries in a phase: durations in seconds of all, and how many were refused."""

    queries: list[float]
    new_texts: list[float]
    refused: int

    @classmethod
    def of(cls, polite: Polite, start: float, end: float) -> "Phase":
        queries, new_texts = (polite.between(start, end, kind) for kind in (QUERY, NEW_TEXT))
        return cls([it.seconds for it in queries], [it.seconds for it in new_texts], len(refused(queries + new_texts)))

    @property
    def p50(self) -> float:
        return quantile(self.queries, 50)

    @property
    def p99(self) -> float:
        return quantile(self.queries, 99)


@dataclass(frozen=True, slots=True)
class Siege:
    """One attack on a service with so many workers. Memory is in bytes: before the attack, at its peak, some time after it, and
    some time after a second one. `recovery`: seconds from its end until polite queries were as before."""

    attack: Attack
    workers: int
    before: Phase
    during: Phase
    after: Phase
    memory: tuple[int, int, int, int]
    recovery: float
    outcomes: dict[str, int]

    @property
    def bound(self) -> float:
        """Greatest p99 of polite queries during the attack."""
        return max(AIM_TIMES * self.before.p99, AIM_SECONDS)

    def misses(self) -> Iterator[str]:
        """Describe each aim that is missed."""
        before, _, after, second = self.memory
        if self.during.p99 > self.bound:
            yield f"polite p99 {self.during.p99 * 1000:,.0f} ms, not ≤ {self.bound * 1000:,.0f} ms"
        if refusals := self.during.refused + self.after.refused:
            yield f"{refusals} polite requests refused"
        if after > AIM_MEMORY * before:
            yield f"memory {after / before - 1:+.0%} after {SETTLE:g} s"
        if second > AIM_SECOND_ATTACK * after:
            yield f"memory {second / after - 1:+.0%} by a second attack"
        if unexpected := self.outcomes.keys() - self.attack.documented - {LEFT}:
            yield f"outcomes {', '.join(sorted(unexpected))}"
        if not self.outcomes.keys() & self.attack.sufficient:
            yield "no request had a documented outcome"


async def prepare(address: str, directory: Path, hostile_scale: Scale = HOSTILE_SCALE) -> Ground:
    """Migrate a database and fill it."""
    await migrations.upgrade(address)
    scales = {"polite-1": POLITE_SCALE, "polite-2": POLITE_SCALE, "hostile": hostile_scale}
    *polite, hostile = await fill(address, scales, directory)
    keys = [await make_key(address, it, READ) for it in polite]
    settings = settings_of(address, directory)
    return Ground(address, _PRODUCT, keys, await attacker_credentials(address, hostile), settings)


def group_of(attack: Attack, port: int, credentials: Credentials) -> Group:
    """Return the clients of an attack."""
    request = RequestKind(attack.name, 1, [attack.request(port, credentials)])
    return Group(attack.name, attack.clients, [request], attack.behaviour)


def outcomes_of(result: CrowdResult) -> dict[str, int]:
    """Count the requests of attackers by outcome."""
    counted: dict[str, int] = {}
    for kinds in result.durations.values():
        for outcomes in kinds.values():
            for outcome, durations in outcomes.items():
                counted[outcome] = counted.get(outcome, 0) + len(durations)
    return counted


def memory_of(process: psutil.Process) -> int:
    """Return the resident memory of a service with its workers."""
    total = 0
    for it in (process, *process.children(recursive=True)):
        try:
            total += it.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


async def besiege(ground: Ground, attack: Attack, workers: int, seconds: float, directory: Path) -> Siege:
    """Start a service, attack it twice for some seconds beside polite clients, and measure."""
    environment = {**ground.settings, "HEADWATER_WORKERS": str(workers)}
    with running(directory / "siege.log", environment, "service", "serve", "--port", "0") as service:
        port = service.port()
        process = psutil.Process(service.pid)
        plan = Plan(port, 0.0, seconds, [group_of(attack, port, ground.credentials)], cut=True)
        async with Polite(port, ground.keys, ground.product).at_work() as polite:
            # workers that still start would count as slow ones
            await polite.wait_for(_WARM_UP * CLIENTS)
            measurement = _Measurement(polite, process, plan, directory / "siege-crowd")
            return await measurement.run(attack, workers, seconds)


class _Measurement:
    """The measurement of one attack on one service."""

    def __init__(self, polite: Polite, process: psutil.Process, plan: Plan, files: Path) -> None:
        self._polite = polite
        self._process = process
        self._plan = plan
        self._files = files
        self._limit = AIM_SECONDS

    async def run(self, attack: Attack, workers: int, seconds: float) -> Siege:
        began = time.time()
        await asyncio.sleep(seconds)
        before = Phase.of(self._polite, began, time.time())
        self._limit = max(AIM_TIMES * before.p99, AIM_SECONDS)
        memory = memory_of(self._process)
        started, ended, peak, result = await self._attack()
        after_first = await self._settle(ended, memory * AIM_MEMORY)
        settled = time.time()
        during, after = Phase.of(self._polite, started, ended), Phase.of(self._polite, ended, settled)
        recovery = max((it.due + it.seconds - ended for it in self._late(started)), default=0.0)
        _, ended, _, _ = await self._attack()
        after_second = await self._settle(ended, after_first * AIM_SECOND_ATTACK)
        figures = (memory, peak, after_first, after_second)
        return Siege(attack, workers, before, during, after, figures, max(recovery, 0.0), outcomes_of(result))

    async def _attack(self) -> tuple[float, float, int, CrowdResult]:
        """Return the start and the end of an attack, the greatest memory, and the result."""
        start = time.time() + _START_DELAY
        plan = Plan(self._plan.port, start, self._plan.seconds, self._plan.groups, cut=True, address=HOSTILE_ADDRESS)
        crowd = asyncio.create_task(run_in_process(self._files, plan))
        peak = 0
        while not crowd.done():
            peak = max(peak, memory_of(self._process))
            await asyncio.wait([crowd], timeout=_SAMPLE)
        result = await crowd
        return start, start + self._plan.seconds, peak, CrowdResult(**result)

    async def _settle(self, ended: float, enough: float) -> int:
        """Wait until memory and polite queries are as they should be, or the time for that is over. Return the memory."""

        async with asyncio.TaskGroup() as group:
            sampling = group.create_task(self._sample_until_settled(ended, enough))
            await asyncio.wait([sampling], timeout=ended + SETTLE - time.time())
            sampling.cancel()
        return memory_of(self._process)

    async def _sample_until_settled(self, ended: float, enough: float) -> None:
        quiet = ended
        while quiet <= ended or memory_of(self._process) > enough or self._late(quiet):
            # nobody announces how much memory a process has
            await asyncio.sleep(_SAMPLE)
            quiet = time.time() - _QUIET

    def _late(self, since: float) -> list[Event]:
        """Return the polite queries that were refused or answered late, and that had their outcome after this instant."""
        return [
            it for it in self._polite.events if it.due + it.seconds >= since and (it.outcome != "200" or it.seconds > self._limit)
        ]

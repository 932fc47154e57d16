"""The service in a crowd: many clients read as fast as they are answered, alone at first, then beside some who mean harm."""

import asyncio
import base64
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import psutil

from db import migrations
from db.author import Author
from db.database import Database
from db.tenancy import api_key, tenant
from db.tenancy.api_key import KeySigner
from db.tenancy.scope import READ
from graph_api.ingestion.jsonl import JsonLines
from graph_api.ingestion.loading import Load
from tests.bench import graph
from tests.bench.client import post
from tests.bench.crowd import Asked, Part, Plan
from tests.bench.data import KEY_SECRET, make_key, plain_address
from tests.bench.entities import entity_uid, surname
from tests.bench.graph import Scale
from tests.bench.hostile import HOSTILE, Credentials
from tests.bench.lineage import ROWS as WALKS
from tests.bench.loading import Databases, LoadFailed
from tests.bench.rows import THEN, Row
from tests.bench.servers import Server, running
from tests.bench.versions import VERSIONS, since

# Tenants that only read, and keys of each.
_TENANTS = 3
_KEYS = 2
# In each tenant.
_PEOPLE = 500
# Until a crowd begins: its process has to start, and its clients to connect.
_AHEAD = 1.5
# How long the server may take to be rid of what nobody waits for.
_SETTLES = 5.0
# What the service may hold at most with default settings, as docs/crowds.md has it.
MOST_BACKENDS = 14

_DETAILED = """
query Detailed($asOf: DateTime) {
  entities(first: 50, filter: { types: ["PERSON"] }, asOf: $asOf) {
    nodes { uid displayName details { type { code } value } }
    pageInfo { hasNextPage endCursor }
  }
}
"""
_SEARCH = """
query Search($search: String!) {
  entities(search: $search, first: 20) { nodes { uid type { code } displayName } }
}
"""
_PRODUCT = "query Product($name: String!) { product(name: $name) { uid name owner status version domain { name } } }"


class DidNotStand(Exception):
    """The service did something in the crowd that it never should."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How large a crowd is, and of what it asks."""

    readers: int
    hostile: int
    # of a round
    seconds: float
    warming: float
    # of the graph of every tenant; and of the hub of those who mean harm, which is more than a walk may visit
    scale: Scale
    hub: int
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"overload by {self.readers + self.hostile} connections"


WHOLE = Extent(
    readers=180,
    hostile=20,
    seconds=20,
    warming=3,
    scale=Scale(few=50, many=2, most=0, ordinary=4, chain=10, hub=10, clique=5, cycle=10, tree=11),
    hub=6_000,
)
QUICK = Extent(
    readers=10,
    hostile=10,
    seconds=1,
    warming=0.5,
    scale=Scale(few=4, many=1, most=0, ordinary=1, chain=10, hub=10, clique=5, cycle=10, tree=11),
    hub=300,
    # so that a body that drips does not take longer than all the rest
    settings={"HEADWATER_BODY_TIMEOUT": "1"},
)


@dataclass(slots=True)
class Met:
    """What some clients met with: seconds that requests took, by what was asked and how it ended."""

    clients: int
    taken: dict[str, dict[str, list[float]]]
    until_answered: list[float]

    @property
    def outcomes(self) -> dict[str, list[float]]:
        """Seconds by how it ended, whatever was asked."""
        found: dict[str, list[float]] = {}
        for of_read in self.taken.values():
            for outcome, taken in of_read.items():
                found.setdefault(outcome, []).extend(taken)
        return found

    @property
    def answered(self) -> list[float]:
        return self.outcomes.get("200", [])

    @property
    def requests(self) -> int:
        return sum(map(len, self.outcomes.values()))


@dataclass(slots=True)
class Round:
    """What was measured of one round."""

    readers: Met
    hostile: dict[str, Met]
    memory: tuple[int, int]
    # seconds for which the service, the clients, and whatever runs on this machine kept a processor busy
    service: float
    clients: float
    machine: float
    lasted: float
    # connections to the database by application and state, and after how many seconds none of them was at work
    backends: dict[tuple[str, str], int]
    settled: float | None


@dataclass(slots=True)
class Overload:
    """The rounds without those who mean harm and with them."""

    extent: Extent
    alone: Round
    beside: Round

    def faults(self) -> Iterator[str]:
        """What should never be."""
        for name, it in (("alone", self.alone), ("beside hostile ones", self.beside)):
            for outcome, taken in it.readers.outcomes.items():
                if outcome not in ("200", "503 UNAVAILABLE"):
                    yield f"Readers {name} met with {outcome}, {len(taken)} times."
            if it.settled is None:
                yield f"{_SETTLES:g} s after readers {name}, connections are still at work: {it.backends}."
            if sum(number for (application, _), number in it.backends.items() if application == "headwater") > MOST_BACKENDS:
                yield f"After readers {name}, the service has more than {MOST_BACKENDS} connections: {it.backends}."
        for kind in HOSTILE:
            if (met := self.beside.hostile.get(kind.name)) is None:
                continue
            for outcome, taken in met.outcomes.items():
                if outcome not in kind.documented:
                    yield f"Who sends {kind.name} met with {outcome}, {len(taken)} times."
            if not met.requests:
                yield f"Who sends {kind.name} was not answered."


async def measure_overload(databases: Databases, directory: Path, extent: Extent) -> Overload:
    """Fill a database, and let both crowds at a service that runs on it as users run it."""
    name = await databases.create("template0")
    address = databases.address(name)
    await migrations.upgrade(address)
    names = [f"reader-{number}" for number in range(_TENANTS)]
    tenants = await _fill(address, [*names, "hostile"], directory, extent)
    readers = [await make_key(address, it, READ) for it in tenants[:-1] for _ in range(_KEYS)]
    credentials = await _hostile_credentials(address, tenants[-1])
    secret = directory / "jwt.secret"
    secret.write_text("of the issuer, whom nobody believes without a signature of theirs")
    environment = {
        "HEADWATER_DATABASE_URL": address,
        "HEADWATER_KEY_SECRET": KEY_SECRET,
        "HEADWATER_JWT_ALGORITHM": "HS256",
        "HEADWATER_JWT_ISSUER": "https://idp.shop.example",
        "HEADWATER_JWT_AUDIENCE": "headwater",
        "HEADWATER_JWT_KEYS": str(secret),
        **extent.settings,
    }
    with ExitStack() as stack:
        service = stack.enter_context(running(directory / "overload.log", environment, "service", "serve", "--port", "0"))
        course = _Course(directory, databases, name, service, extent, readers, credentials)
        await course.round(extent.warming, hostile=False)
        alone = await course.round(extent.seconds, hostile=False)
        beside = await course.round(extent.seconds, hostile=True)
    return Overload(extent, alone, beside)


class _Course:
    """The measuring of one service."""

    def __init__(
        self,
        directory: Path,
        databases: Databases,
        database: str,
        service: Server,
        extent: Extent,
        readers: list[str],
        credentials: Credentials,
    ) -> None:
        self._directory = directory
        self._databases = databases
        self._database = database
        self._port = service.port()
        self._process = psutil.Process(service.pid)
        self._extent = extent
        self._readers = readers
        self._credentials = credentials

    async def round(self, seconds: float, *, hostile: bool) -> Round:
        crowds = [self._reading()]
        if hostile:
            crowds.append(self._harming())
        memory, busy, machine = self._process.memory_info().rss, _busy(self._process), _busy_of_all()
        started = time.monotonic()
        begins = time.time() + _AHEAD
        told = await asyncio.gather(
            *(self._play(number, Plan(self._port, begins, seconds, parts)) for number, parts in enumerate(crowds))
        )
        busy, machine = _busy(self._process) - busy, _busy_of_all() - machine
        lasted = time.monotonic() - started
        backends, settled = await self._settle()
        met = [
            {part.name: Met(part.clients, it["taken"][part.name], it["until_answered"][part.name]) for part in parts}
            for parts, it in zip(crowds, told, strict=True)
        ]
        return Round(
            met[0]["readers"],
            met[1] if hostile else {},
            (memory, self._process.memory_info().rss),
            busy,
            sum(it["processor"] for it in told),
            machine,
            lasted,
            backends,
            settled,
        )

    def _reading(self) -> list[Part]:
        asked = [
            Asked(
                row.name, weight, [_text(self._port, row, sample, key) for key in self._readers for sample in range(row.samples)]
            )
            for row, weight in _reads(self._extent)
        ]
        return [Part("readers", self._extent.readers, asked)]

    def _harming(self) -> list[Part]:
        clients = [_ORDER[number % len(_ORDER)] for number in range(self._extent.hostile)]
        return [
            Part(it.name, clients.count(it), [Asked(it.name, 1, [it.request(self._port, self._credentials)])], it.manner)
            for it in HOSTILE
            if it in clients
        ]

    async def _play(self, number: int, plan: Plan) -> Any:
        """What a crowd tells that did as planned, in a process of its own."""
        planned, told = (self._directory / f"crowd-{number}.{it}.json" for it in ("plan", "told"))
        planned.write_bytes(orjson.dumps(plan))
        log = self._directory / f"crowd-{number}.log"
        with running(log, {}, "crowd", str(planned), str(told)) as process:
            if await process.ended():
                raise DidNotStand(f"A crowd came to an end before its time: {process.said()[-2000:]}")
        return orjson.loads(told.read_bytes())

    async def _settle(self) -> tuple[dict[tuple[str, str], int], float | None]:
        """Wait until the service is at rest in the database, if it ever is."""
        began = time.monotonic()
        while True:
            backends = await self._databases.connections(self._database)
            if all(state == "idle" for _, state in backends):
                return backends, time.monotonic() - began
            if time.monotonic() - began > _SETTLES:
                return backends, None
            await asyncio.sleep(0.05)


# One of each kind, and of those that cost the service more than its refusal, more.
_ORDER = [*HOSTILE, *(it for it in HOSTILE for _ in range(it.more))]


def _busy(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _busy_of_all() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)


def _reads(extent: Extent) -> list[tuple[Row, int]]:
    """What readers ask, and how many in a hundred times."""
    walks = {it.name: it for it in WALKS}
    products = [f"{place:06} of few-{number}" for number in range(min(extent.scale.few, 10)) for place in (0, 4, 8, 12)]
    return [
        (Row("product by name", _PRODUCT, lambda it: {"name": products[it]}, samples=len(products)), 30),
        (Row("page of 50 with details", _DETAILED), 20),
        (Row("page of 50 with details, as-of", _DETAILED, lambda _: {"asOf": THEN}), 10),
        (Row("search", _SEARCH, lambda it: {"search": surname(it, VERSIONS - 1).lower()}, samples=20), 10),
        (_of(walks["walk of 20"], extent.scale.few), 15),
        (_of(walks["walk of 20, as-of"], extent.scale.few), 10),
        (_of(walks["walk of 450"], extent.scale.many), 5),
    ]


def _of(row: Row, roots: int) -> Row:
    return Row(row.name, row.document, row.variables, min(row.samples, roots))


def _text(port: int, row: Row, sample: int, key: str) -> str:
    body = orjson.dumps({"query": row.document, "variables": row.variables(sample)})
    return post(port, body, key).decode()


async def _fill(address: str, names: list[str], directory: Path, extent: Extent) -> list[int]:
    """Tenants of these names with people and a graph in each, and in the last one with what hurts; gives their numbers."""
    tenants = [await tenant.create(address, it, Author("bench")) for it in names]
    database = Database(address, pool_size=1, statement_timeout=600)
    owner = await asyncpg.connect(plain_address(address))
    try:
        for write in (_write_people, graph.write_assets, graph.write_links):
            for tenant_id in tenants:
                file = directory / "tenant.jsonl"
                write(file, extent.scale if tenant_id != tenants[-1] else replace(extent.scale, hub=extent.hub))
                load = Load(database, tenant_id, Author("bench"), advanced=lambda *_: None, rejected=_refused)
                with file.open("rb") as opened:
                    await load.run(opened, JsonLines)
            # Not after each: a load into a tenant that statistics do not know takes many times as long as one without any.
            await owner.execute("VACUUM ANALYZE")
    finally:
        await owner.close()
        await database.close()
    return tenants


def _refused(fault: Any) -> None:
    raise LoadFailed(f"What readers ask for could not be loaded: {fault}")


def _write_people(path: Path, _: Scale) -> int:
    """A file of people who take another name and change their team in their history; gives how many lines it has."""
    types = (
        {"kind": "entityType", "code": "PERSON", "label": "Person"},
        {"kind": "detailType", "code": "email", "label": "Email", "format": "email"},
        {"kind": "detailType", "code": "team", "label": "Team", "format": "text"},
    )
    people = (_person(number, version) for version in (0, VERSIONS - 1) for number in range(_PEOPLE))
    lines = [orjson.dumps(it, option=orjson.OPT_APPEND_NEWLINE) for it in chain(types, people)]
    path.write_bytes(b"".join(lines))
    return len(lines)


def _person(number: int, version: int) -> dict[str, Any]:
    return {
        "kind": "entity",
        "uid": entity_uid(number),
        "type": "PERSON",
        "displayName": f"Person {number:06} {surname(number, version)}",
        "details": [
            {"type": "email", "value": f"person_{number}@shop.example"},
            {"type": "team", "value": f"team {(number + version) % 500}"},
        ],
        "at": since(version),
    }


async def _hostile_credentials(address: str, tenant_id: int) -> Credentials:
    """A key of a tenant's own, one that was revoked, one that another service made, and a token that nobody signed."""
    key, revoked = await make_key(address, tenant_id, READ), await make_key(address, tenant_id, READ)
    database = Database(address, pool_size=1)
    try:
        async with database.transaction(tenant_id, Author("bench")) as connection:
            await api_key.revoke(connection, revoked)
    finally:
        await database.close()
    _, forged = KeySigner(KEY_SECRET[::-1].encode()).generate(tenant_id)
    claims = {"iss": "https://idp.shop.example", "aud": "headwater", "sub": "eve", "tenant": "hostile", "scope": READ}
    parts: tuple[dict[str, Any], ...] = ({"alg": "none"}, {**claims, "exp": round(time.time()) + 3600}, {})
    unsigned = b".".join(base64.urlsafe_b64encode(orjson.dumps(it)).rstrip(b"=") for it in parts).decode()
    return Credentials(key, revoked, forged, unsigned)


def quantile(taken: list[float], of: int) -> float:
    """The percentile of what was measured, 0 where nothing was."""
    if len(taken) < 2:
        return sum(taken)
    return statistics.quantiles(taken, n=100, method="inclusive")[of - 1]

"""A small siege: one request of each attack, and each attack for a moment beside polite tenants. Bounds concern outcomes,
statements and memory, for the clock of a machine that runs other tests says little. `make siege` measures."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace

import asyncpg
import orjson
import psutil
import pytest

from tests.bench.client import HttpConnection, post
from tests.bench.overload.measure import MOST_BACKENDS
from tests.bench.processes import running
from tests.databases import shared_database
from tests.processes import PATIENCE, wait_until
from tests.siege.__main__ import print_rows
from tests.siege.attacks import ATTACKS, Attack
from tests.siege.crowd import HUNG, LEFT, CrowdFailed, Group, Plan, RequestKind, carry_out, outcome_of
from tests.siege.measure import POLITE_SCALE, Ground, Phase, Siege, group_of, memory_of, outcomes_of, prepare
from tests.siege.polite import CLIENTS, HOSTILE_ADDRESS, NEW_TEXT, QUERY, Event, Polite, refused
from tests.siege.report import row

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("siege")]

SECONDS = 0.5
# Attackers of a kind: more would measure the client.
MOST_ATTACKERS = 20
# Bytes that the service may keep after an attack of this length, caches included.
KEPT = 64e6

_ACTIVE = """
SELECT count(*), count(*) FILTER (WHERE state <> 'idle') AS active FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'headwater'
"""

_WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'headwater' AND wait_event_type = 'Lock'
"""
_LOCK_HOSTILE = "SELECT FROM asset WHERE tenant_id = (SELECT tenant.tenant_id FROM tenant WHERE name = 'hostile') FOR UPDATE"
_UPDATE = "mutation ($input: UpdateProductInput!) { updateProduct(input: $input) { changed } }"
# Slots that a tenant may hold while another is active.
HALF = 5


@dataclass(frozen=True)
class Service:
    """A service on a ground, which the tests of this module share: only attacks in turn show what they leave."""

    ground: Ground
    port: int
    process: psutil.Process


@pytest.fixture(scope="module")
def service(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("siege")
    with shared_database(server) as address:
        ground = asyncio.run(prepare(address, directory, replace(POLITE_SCALE, hub=300, clique=100)))
        # a tenant that has spent its rate attacks no more
        settings = {**ground.settings, "HEADWATER_TENANT_RATE": "", "HEADWATER_KEY_RATE": ""}
        with running(directory / "service.log", settings, "service", "serve", "--port", "0") as service:
            yield Service(ground, service.port(), psutil.Process(service.pid))


@pytest.mark.slow(50)
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda it: it.name)
async def test_polite_tenants_are_answered_beside(attack: Attack, service: Service) -> None:
    if attack.alone is not None:
        assert await outcome_alone(attack, service) == attack.alone
    group = group_of(attack, service.port, service.ground.credentials)
    plan = Plan(
        service.port, 0, SECONDS, [replace(group, clients=min(group.clients, MOST_ATTACKERS))], cut=True, address=HOSTILE_ADDRESS
    )
    memory = memory_of(service.process)
    async with Polite(service.port, service.ground.keys, service.ground.product).at_work(SECONDS) as polite:
        await polite.wait_for(CLIENTS)
        result = await carry_out(plan)
        await polite.wait_for(CLIENTS)
    assert refused(polite.events) == []
    outcomes = outcomes_of(result).keys()
    assert outcomes, "nobody attacked"
    assert outcomes <= attack.documented | {LEFT}
    await wait_until(lambda: is_at_rest(service.ground.address))

    async def returned_memory() -> bool:
        return memory_of(service.process) <= memory + KEPT

    await wait_until(returned_memory)


@pytest.mark.slow(5)
async def test_long_operations_of_one_key_leave_slots_to_other_tenants(service: Service) -> None:
    """All assets of the attackers are locked, so their updates last until the lock is released."""
    port, credentials = service.port, service.ground.credentials
    update = {"product": {"name": service.ground.product}, "owner": "eve"}
    body = orjson.dumps({"query": _UPDATE, "variables": {"input": update}})
    request = RequestKind("updates", 1, [post(port, body, credentials.writing).decode()])
    observer = await asyncpg.connect(service.ground.address)
    holder = await asyncpg.connect(service.ground.address)
    try:
        async with Polite(port, service.ground.keys, service.ground.product).at_work(SECONDS) as polite:
            await polite.wait_for(CLIENTS)
            transaction = holder.transaction()
            await transaction.start()
            await holder.execute(_LOCK_HOSTILE)
            attackers = asyncio.create_task(carry_out(Plan(port, 0, PATIENCE, [Group("updates", 20, [request])], cut=True)))

            async def attackers_wait() -> bool:
                return bool(await observer.fetchval(_WAITING) >= HALF)

            await wait_until(attackers_wait)
            await polite.wait_for(2 * CLIENTS)
            assert await observer.fetchval(_WAITING) == HALF
            assert not attackers.done()
            attackers.cancel()
            await asyncio.wait([attackers])
            await transaction.rollback()
        assert refused(polite.events) == []
    finally:
        await holder.close()
        await observer.close()


async def outcome_alone(attack: Attack, service: Service) -> str:
    """Return the outcome of one request of an attack, awaited for as long as it takes."""
    loop = asyncio.get_running_loop()
    address = (HOSTILE_ADDRESS, 0)
    _, connection = await loop.create_connection(HttpConnection, "127.0.0.1", service.port, local_addr=address)
    try:
        async with asyncio.timeout(PATIENCE):
            body = await connection.send(attack.request(service.port, service.ground.credentials).encode())
        return outcome_of(connection, body)
    finally:
        connection.abort()


async def is_at_rest(address: str) -> bool:
    """True if the service runs no statement. It never has more connections than documented."""
    connection = await asyncpg.connect(address)
    try:
        found = await connection.fetchrow(_ACTIVE)
    finally:
        await connection.close()
    assert found
    assert found["count"] <= MOST_BACKENDS
    return not found["active"]


@pytest.mark.unit
def test_aims_that_are_missed_are_described() -> None:
    attack = ATTACKS[0]
    good = Phase([0.01] * 100, [0.02], 0)
    held = Siege(attack, 1, good, good, good, (100, 180, 125, 131), 0.0, {"200": 5, LEFT: 1})
    assert list(held.misses()) == []
    missed = replace(
        held, during=Phase([0.01] * 90 + [3.0] * 10, [], 2), after=replace(good, refused=1), memory=(100, 180, 130, 150)
    )
    assert list(replace(missed, outcomes={"200 INTERNAL": 1, HUNG: 1}).misses()) == [
        "polite p99 3,000 ms, not ≤ 150 ms",
        "3 polite requests refused",
        "memory +30% after 30 s",
        "memory +15% by a second attack",
        "outcomes 200 INTERNAL, hung",
        "no request had a documented outcome",
    ]
    for outcomes in ({}, {LEFT: 5}):
        assert list(replace(held, outcomes=outcomes).misses()) == ["no request had a documented outcome"]
    leaving = next(it for it in ATTACKS if it.alone is None)
    assert list(replace(held, attack=leaving, outcomes={LEFT: 5}).misses()) == []
    assert list(replace(held, attack=leaving, outcomes={}).misses()) == ["no request had a documented outcome"]
    assert "| 10 → 10 → 10 | 10 → 3,000 → 10 | 0 → 2 → 1 |" in row(missed)


@pytest.mark.unit
async def test_a_row_that_cannot_be_measured_is_missed_and_the_next_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    good = Phase([0.01] * 100, [0.02], 0)

    async def measure(attack: Attack, workers: int) -> Siege:
        if attack is ATTACKS[0]:
            raise CrowdFailed("A crowd ended early: a | b\nc")
        if attack is ATTACKS[1]:
            await asyncio.Event().wait()
        return Siege(attack, workers, good, good, good, (100, 100, 100, 100), 0.0, {"200": 5})

    assert await print_rows(measure, ATTACKS[:3], [2], 0.01) == 2
    crashed, late, measured = capsys.readouterr().out.splitlines()
    assert crashed.startswith(f"| {ATTACKS[0].name} | 2 |")
    assert crashed.endswith("not measured: CrowdFailed A crowd ended early: a / b c |")
    assert late.endswith("not measured: TimeoutError |")
    assert crashed.count("|") == late.count("|") == measured.count("|") == 11


@pytest.mark.unit
def test_polite_queries_belong_to_the_phase_in_which_they_were_due() -> None:
    events = [Event(QUERY, 1.0, 0.5, "200"), Event(QUERY, 2.5, 9.0, "503 UNAVAILABLE"), Event(NEW_TEXT, 2.6, 0.1, "200")]
    phase = Phase.of(Polite(0, [], "", events), 2.0, 3.0)
    assert (phase.queries, phase.new_texts, phase.refused) == ([9.0], [0.1], 1)

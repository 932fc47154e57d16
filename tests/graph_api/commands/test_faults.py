"""Faults under writers: kills at random moments, wrong clocks, a database that becomes read-only, and a full disk.

Nothing that was acknowledged is lost, the log and the versions agree, and the service works again without a restart.
"""

import asyncio
import json
import os
import random
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from db.embedded.server import EmbeddedServer
from graph_api.commands.database import DATABASE
from tests.builders import REGISTER_LINEAGE, UPDATE, iso, product_fields
from tests.commands import run_in_process
from tests.graph_api.commands.service_processes import ServiceClient, serve_on
from tests.graph_api.commands.writers import Writers, all_owners, register_products
from tests.processes import CommandProcess, wait_for_end_of, wait_until
from tests.randomness import seeds, size

pytestmark = [pytest.mark.integration, pytest.mark.random]

# Most writes, and most seconds after them, before a kill.
MOST_WRITES, MOST_SECONDS = 40, 0.05


@asynccontextmanager
async def superuser(data: Path, database: str = "postgres") -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Connect to the server of a data directory, without counting as a user that keeps it running."""
    sockets = (data / "postgres.socket").read_text().strip()
    connection = await asyncpg.connect(host=sockets, user="headwater", database=database)
    try:
        yield connection
    finally:
        await connection.close()


async def check(data: Path, client: ServiceClient, acknowledged: dict[str, str]) -> None:
    """Check that nothing acknowledged is lost, and that the log and the versions agree."""
    assert acknowledged.items() <= (await all_owners(client)).items()
    verified = await run_in_process("verify", data=str(data))
    assert verified.code == 0, verified.out


def workers_of(service: CommandProcess) -> list[psutil.Process]:
    """Return the workers of a service, without the tracker of resources and the embedded server."""
    workers = []
    for it in service.children():
        # one that ends at this moment has no command line any more
        with suppress(psutil.NoSuchProcess):
            if "spawn_main" in " ".join(it.cmdline()):
                workers.append(it)
    return workers


@pytest.mark.slow(20)
@pytest.mark.parametrize("seed", seeds(1, 1))
async def test_a_service_killed_at_random_moments_has_kept_every_acknowledged_write(data: Path, seed: int) -> None:
    chance = random.Random(seed)
    acknowledged: dict[str, str] = {}
    for kill in range(size(3, 50)):
        workers = chance.choice((1, 2))
        async with serve_on(data, "--workers", str(workers)) as (service, client):
            if not kill:
                await register_products(client)
            children = workers_of(service)
            async with Writers(client, f"{kill}-").at_work() as writers:
                await writers.wait_for_writes(chance.randrange(MOST_WRITES))
                await asyncio.sleep(chance.uniform(0, MOST_SECONDS))
                for process in (psutil.Process(service.process.pid), *children):
                    process.kill()
                await service.exit_code()
            await wait_for_end_of(*children)
            acknowledged |= writers.acknowledged
    async with serve_on(data) as (_, client):
        await check(data, client, acknowledged)


@pytest.mark.slow(20)
@pytest.mark.parametrize("seed", seeds(1, 1))
async def test_a_worker_killed_at_random_moments_is_replaced_and_every_acknowledged_write_kept(data: Path, seed: int) -> None:
    chance = random.Random(seed)
    async with serve_on(data, "--workers", "2") as (service, client):
        await register_products(client)
        async with Writers(client, reconnects=True).at_work() as writers:
            for _ in range(size(3, 50)):
                await writers.wait_for_writes(chance.randrange(1, MOST_WRITES))
                await asyncio.sleep(chance.uniform(0, MOST_SECONDS))
                killed = chance.choice(workers_of(service))
                killed.kill()
                await wait_for_end_of(killed)

                async def replaced() -> bool:
                    return len(workers_of(service)) == 2

                await wait_until(replaced)
            await writers.wait_for_writes(MOST_WRITES)
        assert service.is_running
        await check(data, client, writers.acknowledged)


SHIFTED_CLOCK = Path(__file__).with_name("shifted_clock")
HALF_AN_HOUR = timedelta(minutes=30)

CREATE_KEY = """
  mutation ($expiresAt: DateTime!) { createKey(input: { label: "x", scopes: ["read"], expiresAt: $expiresAt }) { secret } }
"""
WALK = """
  query ($after: String) {
    product(name: "orders") { downstream(first: 1, after: $after) { nodes { label } pageInfo { endCursor hasNextPage } } }
  }
"""
READ = "query ($name: String!, $asOf: DateTime) { product(name: $name, asOf: $asOf) { owner validFrom } }"


class WrongClock:
    """A service whose clock is wrong, beside a database whose clock is right. What an earlier one returned is used again."""

    def __init__(self) -> None:
        self._cursor: str | None = None
        self._once: dict[str, Any] | None = None

    async def check(self, client: ServiceClient, database: "asyncpg.Connection[asyncpg.Record]", name: str) -> None:
        """Check with a new product that every instant is one of the clock of the database."""

        async def now() -> datetime:
            instant = await database.fetchval("SELECT clock_timestamp()")
            assert isinstance(instant, datetime)
            return instant

        started_at = await now()
        line = json.dumps({"kind": "product", **product_fields(name, owner="loaded")})
        loaded = await client.http.post("/api/v1/ingest", content=line, headers={"Content-Type": "application/jsonl"})
        assert loaded.json()["created"] == 1
        await self._check_read(client, name, "loaded", started_at, await now())
        started_at = await now()
        assert (await client(UPDATE, input={"product": {"name": name}, "owner": "updated"})).data
        await self._check_read(client, name, "updated", started_at, await now())
        early = {"product": {"name": name}, "owner": "early", "at": iso(await now() + HALF_AN_HOUR)}
        assert (await client(UPDATE, input=early)).code_and_field == ("BAD_INPUT", "at")
        await self._check_keys(client, database, await now())
        await self._check_again(client, name)

    async def _check_read(self, client: ServiceClient, name: str, owner: str, after: datetime, before: datetime) -> None:
        read = (await client(READ, name=name)).data["product"]
        assert read["owner"] == owner
        assert after <= datetime.fromisoformat(read["validFrom"]) <= before
        assert (await client(READ, name=name, asOf=iso(before))).data["product"] == read

    async def _check_keys(self, client: ServiceClient, database: "asyncpg.Connection[asyncpg.Record]", now: datetime) -> None:
        assert (await client(CREATE_KEY, expiresAt=iso(now - HALF_AN_HOUR))).code_and_field == ("BAD_INPUT", "expiresAt")
        valid, expired = [
            (await client(CREATE_KEY, expiresAt=iso(now + HALF_AN_HOUR))).data["createKey"]["secret"] for _ in range(2)
        ]
        await database.execute("UPDATE api_key SET expires_at = $1 WHERE name = $2", now - HALF_AN_HOUR, expired.split("_")[2])
        for key, status in ((valid, 200), (expired, 401)):
            assert (await client("{ products { totalCount } }", {"X-API-Key": key})).status == status

    async def _check_again(self, client: ServiceClient, name: str) -> None:
        """Use a cursor and an idempotency key of the previous service, and get those for the next one."""
        if self._cursor is not None:
            page = (await client(WALK, after=self._cursor)).data["product"]["downstream"]
            assert ([it["label"] for it in page["nodes"]], page["pageInfo"]["hasNextPage"]) == (["p1"], False)
        self._cursor = (await client(WALK)).data["product"]["downstream"]["pageInfo"]["endCursor"]
        if self._once is not None:
            assert (await client(UPDATE, input=self._once["input"])).data == self._once["data"]
            other = await client(UPDATE, input={**self._once["input"], "owner": "other"})
            assert other.code_and_field == ("CONFLICT", "idempotencyKey")
        written = {"product": {"name": name}, "owner": "once", "idempotencyKey": name}
        self._once = {"input": written, "data": (await client(UPDATE, input=written)).data}


@pytest.mark.slow(20)
@pytest.mark.parametrize("seed", seeds(1, 1))
async def test_a_service_whose_clock_is_an_hour_off_goes_by_that_of_the_database(
    data: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    acknowledged: dict[str, str] = {}
    wrong_clock = WrongClock()
    monkeypatch.setenv("PYTHONPATH", str(SHIFTED_CLOCK))
    hours, rounds = chance.choice((-1, 1)), size(2, 30)
    for number in range(rounds):
        # the next service is wrong the other way
        hours = -hours
        monkeypatch.setenv("CLOCK_SHIFT", str(hours * 3_600))
        async with serve_on(data, "--workers", str(chance.choice((1, 2)))) as (service, client):
            if not number:
                await register_products(client)
                for target in ("p0", "p1"):
                    link = {"source": {"product": "orders"}, "target": {"product": target}}
                    assert (await client(REGISTER_LINEAGE, input=link)).data
            async with superuser(data, DATABASE) as database:
                await wrong_clock.check(client, database, f"clock-{number}")
            line = await service.err.line_matching(r'"event":"request".*"timestamp":"([^"]+)"')
            assert round((datetime.fromisoformat(line[1]) - datetime.now(UTC)) / timedelta(hours=1)) == hours
            processes = [psutil.Process(service.process.pid), *workers_of(service)]
            async with Writers(client, f"{number}-").at_work() as writers:
                await writers.wait_for_writes(chance.randrange(MOST_WRITES))
                if number < rounds - 1:
                    for process in processes:
                        process.kill()
                    await service.exit_code()
            acknowledged |= writers.acknowledged
            if service.is_running:
                await check(data, client, acknowledged)
        await wait_for_end_of(*processes)


async def endure(data: Path, fault: Callable[[], AbstractAsyncContextManager[None]], times: int) -> None:
    """Write during a fault that comes and goes. Writes are unavailable meanwhile, reads go on, and nothing is restarted."""
    async with serve_on(data) as (service, client):
        await register_products(client)
        async with Writers(client).at_work() as writers:
            for _ in range(times):
                await writers.wait_for_writes(20)
                for codes in writers.error_codes:
                    codes.clear()
                async with fault():
                    await writers.wait_until(lambda: all(writers.error_codes))
                    read = await client("{ products(first: 100) { totalCount } }")
                    assert read.data["products"]["totalCount"] > 1
                assert set.union(*writers.error_codes) == {"UNAVAILABLE"}
            await writers.wait_for_writes(20)
        assert service.is_running
        await check(data, client, writers.acknowledged)


async def test_writes_are_unavailable_while_the_database_is_read_only_and_reads_go_on(data: Path) -> None:
    @asynccontextmanager
    async def read_only() -> AsyncIterator[None]:
        async with superuser(data) as owner:
            await owner.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            await owner.execute("SELECT pg_reload_conf()")
            yield
            await owner.execute("SET default_transaction_read_only = off")
            await owner.execute("ALTER SYSTEM RESET default_transaction_read_only")
            await owner.execute("SELECT pg_reload_conf()")

    await endure(data, read_only, size(1, 10))


@pytest.fixture
def small_disk(new_data: Path) -> Iterator[Path]:
    """An empty directory on a file system of a few megabytes."""
    directory = new_data.parent / "small"
    directory.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", directory], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("only root can mount a small file system")
    try:
        yield directory
    finally:
        # a server that was killed may still have files open
        subprocess.run(["umount", "--lazy", directory], check=True)


async def test_writes_are_unavailable_while_the_disk_is_full_and_reads_go_on(small_disk: Path, data: Path) -> None:
    @asynccontextmanager
    async def full() -> AsyncIterator[None]:
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass
        try:
            yield
        finally:
            filler.unlink()

    space = small_disk / "space"
    space.mkdir(mode=0o700)
    with await asyncio.to_thread(EmbeddedServer.start, data):
        async with superuser(data) as owner:
            user = Path((data / "postgres.socket").read_text().strip()).stat()
            os.chown(space, user.st_uid, user.st_gid)
            await owner.execute(f"CREATE TABLESPACE small LOCATION '{space}'")
            await owner.execute(f"ALTER DATABASE {DATABASE} SET TABLESPACE small")
    await endure(data, full, size(1, 10))

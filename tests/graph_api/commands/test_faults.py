"""Faults under writers: kills at random moments, a database that becomes read-only, and a full disk.

Nothing that was acknowledged is lost, the log and the versions agree, and the service works again without a restart.
"""

import asyncio
import os
import random
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import psutil
import pytest

from db.embedded.server import EmbeddedServer
from graph_api.commands.database import DATABASE
from tests.commands import run_in_process
from tests.graph_api.commands.service_processes import ServiceClient, serve_on
from tests.graph_api.commands.writers import Writers, all_owners, register_products
from tests.processes import CommandProcess, wait_for_end_of, wait_until
from tests.randomness import seeds, size

pytestmark = [pytest.mark.integration, pytest.mark.random]

# Most writes, and most seconds after them, before a kill.
MOST_WRITES, MOST_SECONDS = 40, 0.05


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


@asynccontextmanager
async def superuser(data: Path) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Connect to the server of a data directory, without counting as a user that keeps it running."""
    sockets = (data / "postgres.socket").read_text().strip()
    connection = await asyncpg.connect(host=sockets, user="headwater", database="postgres")
    try:
        yield connection
    finally:
        await connection.close()


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

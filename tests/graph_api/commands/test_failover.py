"""A failover amid writers: the primary is killed, and its synchronous standby promoted. Nothing acknowledged is lost."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from db.embedded.server import SOCKET, EmbeddedServer
from db.embedded.user import ServerUser, binaries
from graph_api.commands.database import DATABASE
from tests.commands import SECRET, run_in_process
from tests.graph_api.commands.service_processes import postmaster_of, serve_on
from tests.graph_api.commands.writers import Writers, all_owners, register_products
from tests.processes import wait_for_end_of, wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
def standby(data: Path) -> Iterator[Path]:
    """The data directory of a standby of the server of `data`, with both running."""
    directory = data.parent / "standby"
    directory.mkdir()
    user = ServerUser.of(directory)
    with EmbeddedServer.start(data, {"fsync": "off"}):
        # as the user of the server, who creates the cluster; the directory is its own
        user.take_ownership(directory)
        copied = user.run(
            *(binaries(user) / "pg_basebackup", "-h", sockets_of(data), "-U", "headwater", "--checkpoint=fast"),
            *("--write-recovery-conf", "--wal-method=stream", "-D", directory / "postgres"),
        )
        assert copied.returncode == 0, copied.stderr
        with EmbeddedServer.start(directory, {"fsync": "off"}):
            yield directory


def sockets_of(data: Path) -> str:
    return (data / "postgres.socket").read_text().strip()


@asynccontextmanager
async def connected(data: Path) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(host=sockets_of(data), user="headwater", database="postgres")
    try:
        yield connection
    finally:
        await connection.close()


@pytest.mark.slow(10)
async def test_a_promoted_synchronous_standby_has_every_acknowledged_write_and_the_service_finds_it(
    data: Path, standby: Path
) -> None:
    hosts = "&".join(f"host={sockets_of(it)}:{SOCKET.rpartition('.')[2]}" for it in (data, standby))
    address = f"postgresql://headwater@/{DATABASE}?{hosts}&target_session_attrs=read-write"
    settings = {"database_url": address, "key_secret": SECRET}
    async with connected(data) as primary:
        await primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        await primary.execute("SELECT pg_reload_conf()")

        async def is_synchronous() -> bool:
            return bool(await primary.fetchval("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"))

        await wait_until(is_synchronous)
    async with serve_on(data, **settings) as (service, client):
        await register_products(client)
        async with Writers(client).at_work() as writers:
            await writers.wait_for_writes(60)
            killed = postmaster_of(data)
            assert killed
            killed.kill()
            await wait_for_end_of(killed)
            await writers.wait_until(lambda: all(writers.error_codes))
            async with connected(standby) as promoted:
                assert await promoted.fetchval("SELECT pg_promote()")
            await writers.wait_for_writes(60)
        assert writers.error_codes == [{"UNAVAILABLE"}] * len(writers.error_codes)
        assert writers.disconnected == 0
        assert service.is_running
        assert writers.acknowledged.items() <= (await all_owners(client)).items()
        verified = await run_in_process("verify", **settings)
        assert verified.code == 0, verified.out
        service.process.terminate()
        await service.exit_code()

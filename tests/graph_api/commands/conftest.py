"""Data directories of embedded servers, for tests that start, kill and restart services on them."""

import asyncio
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from db import migrations
from db.embedded.server import EmbeddedServer
from graph_api.commands.database import DATABASE
from tests.graph_api.commands.service_processes import cluster_of, postmaster_of
from tests.processes import wait_for_end_of


def memory_disk() -> str | None:
    """Return the memory disk if it has room for several clusters: a container has only 64 MB of it."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 2_000_000_000 else None


@pytest.fixture
def new_data() -> Iterator[Path]:
    """A data directory that does not exist yet."""
    with _data_directory() as data:
        yield data


@contextmanager
def _data_directory() -> Iterator[Path]:
    """Yield the path of a data directory, and delete at the end what it holds.

    The server of root runs as another user, who has to be able to enter the directory, which `tmp_path` forbids.
    """
    parent = Path(tempfile.mkdtemp(prefix="headwater-process-", dir=memory_disk())).resolve()
    parent.chmod(0o755)
    data = parent / "data"
    yield data
    if left := postmaster_of(data):
        # SIGQUIT ends the server at once, and lets it remove its shared memory.
        left.send_signal(signal.SIGQUIT)
        asyncio.run(wait_for_end_of(left))
    with suppress(FileNotFoundError):
        shutil.rmtree((data / "postgres.socket").read_text().strip(), ignore_errors=True)
    shutil.rmtree(cluster_of(data), ignore_errors=True)
    shutil.rmtree(parent)


@pytest.fixture(scope="session")
def migrated_data() -> Iterator[Path]:
    """The data directory of a server that is migrated and not running."""
    with _data_directory() as data:
        _migrate(data)
        yield data


@pytest.fixture
def data(migrated_data: Path, new_data: Path) -> Path:
    """A data directory like `migrated_data` that only this test uses."""
    if cluster_of(migrated_data).parent == migrated_data:
        # its files belong to the user of the server
        subprocess.run(["cp", "-a", migrated_data, new_data], check=True)
    else:
        # a directory that does not hold its cluster cannot be copied
        _migrate(new_data)
    return new_data


def _migrate(data: Path) -> None:
    with EmbeddedServer.start(data, {"fsync": "off"}) as server:
        server.ensure_database(DATABASE)
        migrations.upgrade_now(server.address(DATABASE))

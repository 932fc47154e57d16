"""Data directories of embedded servers, for tests that start, kill and restart services on them."""

import asyncio
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import suppress
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
    """A data directory that does not exist yet.

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


@pytest.fixture
def data(new_data: Path) -> Path:
    """The data directory of a server that is migrated and not running."""
    with EmbeddedServer.start(new_data, {"fsync": "off"}) as server:
        server.ensure_database(DATABASE)
        migrations.upgrade_now(server.address(DATABASE))
    return new_data

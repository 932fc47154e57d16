"""The servers that are compared, each on the same database, and the client that sends to them."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import asyncpg
import orjson
import psutil

from tests.bench.databases import KEY_SECRET, plain_address
from tests.bench.processes import COMMAND, REPOSITORY, running
from tests.bench.requests import floor
from tests.bench.requests.client import ClientFailed, Measurement, Order

HEADWATER, FLOOR, POSTGRAPHILE = "Headwater", "floor", "PostGraphile"

# Settings of Headwater whose defaults refuse requests of 64 connections. Everything else is as installed, accounting included.
RAISED = {
    "HEADWATER_MAX_WAITING": "100",
    "HEADWATER_POOL_TIMEOUT": "100",
    "HEADWATER_REQUEST_TIMEOUT": "100",
    "HEADWATER_TENANT_RATE": "1000000000000/minute",
    "HEADWATER_KEY_RATE": "1000000000000/minute",
}

_POSTGRAPHILE = Path(__file__).parent / "postgraphile"
_SCHEMA = _POSTGRAPHILE / "schema.sql"


@dataclass(frozen=True, slots=True)
class Side:
    """One of the servers that are compared."""

    name: str
    port: int
    process: psutil.Process

    def cpu(self) -> float:
        """Return the processor seconds of the server so far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


def node() -> str | None:
    """Return the path of a Node that can run PostGraphile, or None if it is not installed."""
    modules = _POSTGRAPHILE / "node_modules"
    if not (modules / "postgraphile").is_dir():
        return None
    own = modules / ".bin" / "node"
    return str(own) if own.exists() else shutil.which("node")


@contextmanager
def serving(address: str, directory: Path) -> Iterator[list[Side]]:
    """Start the servers on a database: the floor, PostGraphile if it is installed, and Headwater."""
    with ExitStack() as stack:

        def start(name: str, environment: Mapping[str, str], *arguments: str, **options: Any) -> None:
            log = directory / f"{name.lower()}.log"
            server = stack.enter_context(running(log, environment, *arguments, **options))
            sides.append(Side(name, server.port(), psutil.Process(server.pid)))

        sides: list[Side] = []
        start(FLOOR, {floor.DATABASE_VARIABLE: plain_address(address)}, "floor")
        if found := node():
            arguments = plain_address(address), str(floor.POOL_SIZE)
            environment = {"NODE_ENV": "production", "GRAPHILE_ENV": "production"}
            start(POSTGRAPHILE, environment, *arguments, command=(found, str(_POSTGRAPHILE / "serve.mjs")))
        environment = {"HEADWATER_DATABASE_URL": address, "HEADWATER_KEY_SECRET": KEY_SECRET, **RAISED}
        start(HEADWATER, environment, "service", "serve", "--port", "0")
        yield sides


async def create_postgraphile_schema(address: str) -> None:
    """Create the view and the functions that PostGraphile serves."""
    owner = await asyncpg.connect(plain_address(address))
    try:
        await owner.execute(_SCHEMA.read_text(encoding="utf-8"))
    finally:
        await owner.close()


class LoadClient:
    """The process of the client."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [*COMMAND, "client"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY, env=os.environ
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def send(self, order: Order) -> Measurement:
        """Have an order carried out, and wait for its end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(orjson.dumps(asdict(order)) + b"\n")
        self._process.stdin.flush()
        result = orjson.loads(self._process.stdout.readline() or b'{"error": "The client ended."}')
        if "error" in result:
            raise ClientFailed(result["error"])
        return Measurement(**result)

"""The service as a process on data of the embedded server, a client of it, and its PostgreSQL process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.builders import ApiResponse
from tests.commands import CommandResult, Commands
from tests.processes import PATIENCE, CommandProcess, is_alive, start_command

# The key that a service creates at its first start on new data.
FIRST_KEY = f"hw_1_bootstrap_{'first' * 13}"

# Pattern of the address that a service announces.
ADDRESS = r"http://127\.0\.0\.1:\d+/graphql"

HISTORY = """
  query ($name: String!, $after: String) {
    product(name: $name) {
      history(first: 100, after: $after) {
        pageInfo { hasNextPage endCursor }
        nodes { validFrom asset { ... on Product { owner } } }
      }
    }
  }
"""


class ServiceClient:
    """Client of a service in another process."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def __call__(self, query: str, headers: dict[str, str] | None = None, **variables: Any) -> ApiResponse:
        response = await self.http.post("/graphql", json={"query": query, "variables": variables}, headers=headers)
        return ApiResponse(response.status_code, response.json(), response.headers)

    async def status(self, path: str) -> int:
        return (await self.http.get(path)).status_code

    async def owners(self, name: str) -> dict[str, str]:
        """Return all owners that a product has had, each with the instant from which it was the owner."""
        owners: dict[str, str] = {}
        after = None
        while True:
            history = (await self(HISTORY, name=name, after=after)).data["product"]["history"]
            owners |= {node["asset"]["owner"]: node["validFrom"] for node in history["nodes"]}
            if not history["pageInfo"]["hasNextPage"]:
                return owners
            after = history["pageInfo"]["endCursor"]


class ServiceCommands(Commands):
    """Commands and services on one database."""

    async def create_key(self, *options: str) -> str:
        (key,) = await self("keys", "create", "somebody", *options)
        return key

    @asynccontextmanager
    async def serve(self, *arguments: str, **settings: Any) -> AsyncIterator[str]:
        """Start a service, and yield its address."""
        async with self.start("serve", *arguments, **settings) as service:
            yield (await service.err.line_matching(ADDRESS))[0]


@asynccontextmanager
async def connect(address: str, key: str | None = None) -> AsyncIterator[ServiceClient]:
    headers = {} if key is None else {"X-API-Key": key}
    base = address.removesuffix("/graphql")
    async with httpx.AsyncClient(base_url=base, headers=headers, timeout=PATIENCE, trust_env=False) as http:
        yield ServiceClient(http)


@asynccontextmanager
async def start_on(data: Path, *arguments: str, user: int | None = None, **settings: Any) -> AsyncIterator[CommandProcess]:
    """Start a command on a data directory."""
    environment = {"data": str(data), "port": "0", **settings}
    async with start_command(*arguments, directory=data.parent, user=user, **environment) as command:
        yield command


async def run_on(data: Path, *arguments: str, user: int | None = None, **settings: Any) -> CommandResult:
    """Run a command on a data directory, as a process."""
    async with start_on(data, *arguments, user=user, **settings) as command:
        code = await command.exit_code()
    return CommandResult(code, command.out.lines, command.err.lines)


@asynccontextmanager
async def serve_on(data: Path, *arguments: str, **settings: Any) -> AsyncIterator[tuple[CommandProcess, ServiceClient]]:
    """Start a service, and connect with a key that has every scope."""
    async with start_on(data, "serve", *arguments, **{"bootstrap_key": FIRST_KEY, **settings}) as service:
        address = (await service.err.line_matching(ADDRESS))[0]
        async with connect(address, FIRST_KEY) as client:
            yield service, client


def cluster_of(data: Path) -> Path:
    """Return the directory of the cluster, which is elsewhere if the data directory cannot hold it."""
    note = data / "postgres.location"
    return (Path(note.read_text().splitlines()[-1]) if note.exists() else data) / "postgres"


def postmaster_of(data: Path) -> psutil.Process | None:
    """Return the PostgreSQL process of a data directory, if it is running."""
    cluster = cluster_of(data)
    with suppress(FileNotFoundError, IndexError, ValueError, psutil.NoSuchProcess):
        process = psutil.Process(int((cluster / "postmaster.pid").read_text().split()[0]))
        if process.name() == "postgres" and str(cluster) in process.cmdline() and is_alive(process):
            return process
    return None

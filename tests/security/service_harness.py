"""A service that asks who comes, as a process of its own; whoever owns it, who makes tenants and keys; and whoever asks."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx

from db.author import Author
from db.database import Database
from db.tenancy import api_key, tenant
from db.tenancy.api_key import KeySigner
from db.tenancy.audit import AuditRow, latest
from graph_api.auth.key_secret import key_signer
from graph_api.commands.database import tenant_named
from graph_api.commands.options import DEFAULT_TENANT
from tests.builders import ApiResponse
from tests.graph_api.auth.issuer import AUDIENCE, ISSUER

COMMAND = str(Path(sys.executable).with_name("headwater"))
SECRET = "a secret of these tests, which is long enough"
ORIGIN = "https://app.shop.example"

PATIENCE = 20
# How long a body may take to come; and what was looked up is believed. Short, so that tests need not wait.
BODY_SECONDS = 1.0
BELIEVED = 0.2

OWNER = Author("owner", "request-0", "make ready", "command line")
LIST = "{ products { nodes { name } } }"

# What is left at work, or in the middle of a transaction, for the service.
_AT_WORK = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'headwater' AND state <> 'idle'
"""


@dataclass
class Owner:
    """Whoever owns the service and its database: is let through every wall, and needs no door."""

    address: str
    signer: KeySigner = field(default_factory=lambda: key_signer(SECRET))

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        database = Database(self.address, pool_size=1)
        try:
            yield database
        finally:
            await database.close()

    async def tenant(self) -> str:
        """A tenant of its own, by its name."""
        name = f"tenant-{uuid4().hex[:12]}"
        await tenant.create(self.address, name, OWNER)
        return name

    async def suspend(self, name: str, because: str | None) -> None:
        """Let nobody of it in any more, or let them in again."""
        await tenant.change(self.address, name, OWNER, settings={"suspended_because": because})

    async def key(
        self, *scopes: str, of: str = DEFAULT_TENANT, operator: bool = False, expires_at: datetime | None = None
    ) -> str:
        async with self.database() as database:
            tenant_id = await tenant_named(database, of)
            if operator:
                made = await api_key.create_operator(self.address, self.signer, tenant_id, "test", scopes, expires_at, OWNER)
                return made[1]
            async with database.transaction(tenant_id, OWNER) as connection:
                _, key = await api_key.create(connection, self.signer, "test", scopes, expires_at)
                return key

    async def expired_key(self) -> str:
        """A key that was made yesterday, for an hour."""
        key = await self.key("read")
        then = datetime.now().astimezone() - timedelta(days=1)
        async with self.connection() as connection:
            name = key.split("_")[2]
            ending = "UPDATE api_key SET created_at = $2, expires_at = $3 WHERE name = $1"
            await connection.execute(ending, name, then, then + timedelta(hours=1))
        return key

    async def revoke(self, key: str, of: str = DEFAULT_TENANT) -> None:
        async with self.database() as database:
            tenant_id = await tenant_named(database, of)
            async with database.transaction(tenant_id, OWNER) as connection:
                await api_key.revoke(connection, key)

    async def audited(self, name: str, count: int = 10) -> list[AuditRow]:
        """What was done last in a tenant, the latest first."""
        async with self.database() as database, database.snapshot(await tenant_named(database, name)) as connection:
            return list(await latest(connection, count))

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        connection = await asyncpg.connect(self.address)
        try:
            yield connection
        finally:
            await connection.close()

    async def at_work(self, number: int) -> None:
        """Waits until so many connections of the service do something, or are in the middle of it."""
        async with self.connection() as connection, asyncio.timeout(PATIENCE):
            while await connection.fetchval(_AT_WORK) != number:  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    @asynccontextmanager
    async def locked(self, table: str = "product_version") -> AsyncIterator[None]:
        """Nobody can read a table."""
        async with self.connection() as connection, connection.transaction():
            await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield


@dataclass
class Service:
    """The process that serves."""

    owner: Owner
    port: int
    log: Path

    def logged(self) -> str:
        return self.log.read_text()

    @asynccontextmanager
    async def client(self) -> AsyncIterator["Client"]:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=PATIENCE, trust_env=False) as http:
            yield Client(http, self)


@dataclass
class Client:
    """Whoever asks the service."""

    http: httpx.AsyncClient
    service: Service

    @property
    def owner(self) -> Owner:
        return self.service.owner

    async def __call__(
        self, query: str = LIST, key: str | None = None, headers: dict[Any, Any] | None = None, **variables: Any
    ) -> ApiResponse:
        given = {**({} if key is None else {"X-API-Key": key}), **(headers or {})}
        response = await self.http.post("/graphql", json={"query": query, "variables": variables}, headers=given)
        return ApiResponse(response.status_code, response.json(), response.headers)

    async def load(self, key: str, *lines: dict[str, Any]) -> ApiResponse:
        """Loads lines over HTTP."""
        content = "".join(json.dumps(it) + "\n" for it in lines)
        headers = {"X-API-Key": key, "Content-Type": "application/jsonl"}
        response = await self.http.post("/api/v1/ingest", content=content, headers=headers)
        return ApiResponse(response.status_code, response.json(), response.headers)


@contextmanager
def serving(owner: Owner, place: Path, **settings: str) -> Iterator[Service]:
    """`headwater serve`, on that database, writing all it can to a log."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    given = {"database_url": owner.address, "key_secret": SECRET, "port": "0", "log_level": "DEBUG", **settings}
    environment |= {f"HEADWATER_{name.upper()}": value for name, value in given.items()}
    log = place / "log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [COMMAND, "serve"], env=environment, cwd=place, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
        )
    try:
        yield Service(owner, _port(process, log), log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)


def _port(process: "subprocess.Popen[bytes]", log: Path) -> int:
    """Where it says that it answers."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        for line in log.read_text().splitlines():
            if '"serving"' in line:
                return int(json.loads(line)["address"].rpartition(":")[2].partition("/")[0])
        assert process.poll() is None, log.read_text()
        time.sleep(0.02)
    raise AssertionError("it does not say where it answers")


def believing(keys: Path) -> dict[str, Any]:
    """Settings that have tokens of the tests' issuer believed."""
    return {"jwt_algorithm": "ES256", "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "jwt_keys": str(keys)}


def prefix_of(key: str) -> str:
    """What is public of a key."""
    return "_".join(key.split("_")[:3])


def refused(answer: ApiResponse) -> tuple[int, str]:
    """Its status and code; nothing was run, and the answer names the request."""
    assert "data" not in answer.body
    assert answer.body["extensions"]["requestId"] == answer.headers["x-request-id"]
    assert answer.headers.get("www-authenticate") == ("Bearer" if answer.status == 401 else None)
    return answer.status, answer.error["extensions"]["code"]

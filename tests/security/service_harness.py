"""Harness of the security tests: the service as a separate process, its owner who creates tenants and keys, and its clients."""

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

TIMEOUT = 20
# Time limit of a body, and lifetime of cached credentials. Short, so that tests need not wait.
BODY_SECONDS = 1.0
CACHE_SECONDS = 0.2

OWNER = Author("owner", "request-0", "make ready", "command line")
LIST = "{ products { nodes { name } } }"

# Connections of the service that run a statement or are inside a transaction.
_ACTIVE_CONNECTIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'headwater' AND state <> 'idle'
"""


@dataclass
class Owner:
    """Owner of the database: bypasses authentication and row-level security."""

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
        """Create a tenant, and return its name."""
        name = f"tenant-{uuid4().hex[:12]}"
        await tenant.create(self.address, name, OWNER)
        return name

    async def suspend(self, name: str, reason: str | None) -> None:
        """Suspend a tenant, or resume it with None."""
        await tenant.change(self.address, name, OWNER, settings={"suspended_because": reason})

    async def key(
        self, *scopes: str, of: str = DEFAULT_TENANT, operator: bool = False, expires_at: datetime | None = None
    ) -> str:
        """Create a key."""
        async with self.database() as database:
            tenant_id = await tenant_named(database, of)
            if operator:
                _, key = await api_key.create_operator(self.address, self.signer, tenant_id, "test", scopes, expires_at, OWNER)
                return key
            async with database.transaction(tenant_id, OWNER) as connection:
                _, key = await api_key.create(connection, self.signer, "test", scopes, expires_at)
                return key

    async def expired_key(self) -> str:
        """Create a key that expired yesterday."""
        key = await self.key("read")
        created_at = datetime.now().astimezone() - timedelta(days=1)
        async with self.connection() as connection:
            name = key.split("_")[2]
            expire = "UPDATE api_key SET created_at = $2, expires_at = $3 WHERE name = $1"
            await connection.execute(expire, name, created_at, created_at + timedelta(hours=1))
        return key

    async def revoke(self, key: str, of: str = DEFAULT_TENANT) -> None:
        async with self.database() as database:
            tenant_id = await tenant_named(database, of)
            async with database.transaction(tenant_id, OWNER) as connection:
                await api_key.revoke(connection, key)

    async def audit_rows(self, name: str, count: int = 10) -> list[AuditRow]:
        """Return the latest rows of the audit log of a tenant, the latest first."""
        async with self.database() as database, database.snapshot(await tenant_named(database, name)) as connection:
            return list(await latest(connection, count))

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        connection = await asyncpg.connect(self.address)
        try:
            yield connection
        finally:
            await connection.close()

    async def wait_for_active(self, count: int) -> None:
        """Wait until this many connections of the service run a statement or are inside a transaction."""
        async with self.connection() as connection, asyncio.timeout(TIMEOUT):
            while await connection.fetchval(_ACTIVE_CONNECTIONS) != count:  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    @asynccontextmanager
    async def locked(self, table: str = "product_version") -> AsyncIterator[None]:
        """Lock a table against reads for the block."""
        async with self.connection() as connection, connection.transaction():
            await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield


@dataclass
class Service:
    """A running `headwater serve`."""

    owner: Owner
    port: int
    log_file: Path

    def log(self) -> str:
        return self.log_file.read_text()

    @asynccontextmanager
    async def client(self) -> AsyncIterator["Client"]:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=TIMEOUT, trust_env=False) as http:
            yield Client(http, self)


@dataclass
class Client:
    """HTTP client of the service."""

    http: httpx.AsyncClient
    service: Service

    @property
    def owner(self) -> Owner:
        return self.service.owner

    async def __call__(
        self, query: str = LIST, key: str | None = None, headers: dict[Any, Any] | None = None, **variables: Any
    ) -> ApiResponse:
        all_headers = {**({} if key is None else {"X-API-Key": key}), **(headers or {})}
        response = await self.http.post("/graphql", json={"query": query, "variables": variables}, headers=all_headers)
        return ApiResponse(response.status_code, response.json(), response.headers)

    async def load(self, key: str, *lines: dict[str, Any]) -> ApiResponse:
        """Load JSON lines over HTTP."""
        content = "".join(json.dumps(it) + "\n" for it in lines)
        headers = {"X-API-Key": key, "Content-Type": "application/jsonl"}
        response = await self.http.post("/api/v1/ingest", content=content, headers=headers)
        return ApiResponse(response.status_code, response.json(), response.headers)


@contextmanager
def serving(owner: Owner, directory: Path, **settings: str) -> Iterator[Service]:
    """Run `headwater serve` on the owner's database, with a debug log in the directory."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    all_settings = {"database_url": owner.address, "key_secret": SECRET, "port": "0", "log_level": "DEBUG", **settings}
    environment |= {f"HEADWATER_{name.upper()}": value for name, value in all_settings.items()}
    log_file = directory / "log"
    with log_file.open("w") as stream:
        process = subprocess.Popen(
            [COMMAND, "serve"], env=environment, cwd=directory, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
        )
    try:
        yield Service(owner, _announced_port(process, log_file), log_file)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT)


def _announced_port(process: "subprocess.Popen[bytes]", log_file: Path) -> int:
    """Wait for the service to log its URL, and return the port."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        for line in log_file.read_text().splitlines():
            if '"serving"' in line:
                return int(json.loads(line)["address"].rpartition(":")[2].partition("/")[0])
        assert process.poll() is None, log_file.read_text()
        time.sleep(0.02)
    raise AssertionError("the service did not log its URL in time")


def token_settings(keys: Path) -> dict[str, Any]:
    """Return settings that accept the tokens of the tests' issuer."""
    return {"jwt_algorithm": "ES256", "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "jwt_keys": str(keys)}


def key_prefix(key: str) -> str:
    """Return the public part of a key."""
    return "_".join(key.split("_")[:3])


def rejection(response: ApiResponse) -> tuple[int, str]:
    """Return status and code of a request that was not executed. Check that its response names the request."""
    assert "data" not in response.body
    assert response.body["extensions"]["requestId"] == response.headers["x-request-id"]
    assert response.headers.get("www-authenticate") == ("Bearer" if response.status == 401 else None)
    return response.status, response.error["extensions"]["code"]

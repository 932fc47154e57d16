"""A service that tests send JSON lines to, over a real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx

from graph_api.ingestion.http import MEDIA_TYPES
from tests.graph_api.http.test_disconnect import TIMEOUT, Service
from tests.processes import wait_until

LINES = {"Content-Type": MEDIA_TYPES[0]}


class LoadService(Service):
    """A service with its endpoint for loads."""

    def __init__(self, address: str, **settings: Any) -> None:
        super().__init__(address, **settings)
        self._address = address

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v1/ingest"

    async def post(self, content: Any, headers: dict[str, str] = LINES, **parameters: str) -> tuple[int, dict[str, Any]]:
        """Send lines, and return the status and the body without its request id."""
        async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=False) as client:
            response = await client.post(self.url, content=content, headers=headers, params=parameters)
        body = response.json()
        assert body.pop("extensions") == {"requestId": response.headers["X-Request-ID"]}
        return response.status_code, body

    async def count_changes(self) -> int:
        connection = await asyncpg.connect(self._address)
        try:
            return int(await connection.fetchval("SELECT count(*) FROM change"))
        finally:
            await connection.close()

    async def wait_for_changes(self, count: int) -> None:
        """Wait until so many changes are committed."""

        async def committed() -> bool:
            return await self.count_changes() == count

        await wait_until(committed)

    async def wait_until_idle(self) -> None:
        """Wait until no load is running."""
        database = self.app.state.database

        async def idle() -> bool:
            return not database.connections_in_use

        await wait_until(idle)

    @asynccontextmanager
    async def sending(self, length: int) -> AsyncIterator[asyncio.StreamWriter]:
        """Open a request with a body of that length, and abort the connection at the end of the block."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        headers = f"Host: 127.0.0.1\r\nContent-Type: {MEDIA_TYPES[0]}\r\nContent-Length: {length}\r\n"
        writer.write(f"POST /api/v1/ingest HTTP/1.1\r\n{headers}\r\n".encode())
        try:
            yield writer
        finally:
            writer.transport.abort()


def summary(*counts: int, faults: list[Any] | None = None) -> dict[str, Any]:
    """Return the body of a response with these counts of created, updated, unchanged and rejected rows."""
    names = ("created", "updated", "unchanged", "rejected")
    return {**dict(zip(names, counts, strict=True)), "rows": sum(counts), "faults": faults or []}

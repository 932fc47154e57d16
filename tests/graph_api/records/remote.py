"""A service that holds records, on a loopback socket, whose answers a test can replace."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

TIMEOUT = 10


@asynccontextmanager
async def listening(app: ASGIApp) -> AsyncIterator[int]:
    """Serve an app on a real socket. Yield the port."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, loop="asyncio", ws="none"))
    running = asyncio.create_task(server.serve())
    async with asyncio.timeout(TIMEOUT):
        while not server.started:  # noqa: ASYNC110
            await asyncio.sleep(0)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await running


class Remote:
    """Service that answers with a record for every requested key, unless its handler is replaced. It stores the requests."""

    def __init__(self) -> None:
        self.handler: Callable[[Request], Awaitable[Response]] = self.default_handler
        self.targets: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.max_concurrent = 0
        self._concurrent = 0
        self.app = Starlette(routes=[Route("/{path:path}", self._handle)])
        self.port = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _handle(self, request: Request) -> Response:
        path, query = request.scope["raw_path"].decode(), request.scope["query_string"].decode()
        self.targets.append(f"{path}?{query}" if query else path)
        self.headers.append(dict(request.headers))
        self._concurrent += 1
        self.max_concurrent = max(self.max_concurrent, self._concurrent)
        try:
            return await self.handler(request)
        finally:
            self._concurrent -= 1

    async def default_handler(self, request: Request) -> Response:
        """Answer with the records of all keys but those that begin with `no`."""
        keys = request.query_params.getlist("id")
        return JSONResponse([record(key) for key in keys if not key.startswith("no")])


def record(key: str) -> dict[str, Any]:
    """Return the record that the service holds for a key."""
    return {"id": int(key) if key.isdigit() else key, "name": f"Customer {key}"}


@asynccontextmanager
async def remote() -> AsyncIterator[Remote]:
    service = Remote()
    async with listening(service.app) as port:
        service.port = port
        yield service


@asynccontextmanager
async def raw_server(handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[int]:
    """Serve raw TCP connections with a handler. Yield the port."""

    async def handle_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handle(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(handle_and_close, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]

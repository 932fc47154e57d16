"""A service that keeps records: a real one on loopback, which is fine, slow, wrong, huge or gone as the test wants it."""

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

PATIENCE = 10


@asynccontextmanager
async def listening(app: ASGIApp) -> AsyncIterator[int]:
    """An app behind a real socket; gives the port."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, loop="asyncio", ws="none"))
    running = asyncio.create_task(server.serve())
    async with asyncio.timeout(PATIENCE):
        while not server.started:  # noqa: ASYNC110
            await asyncio.sleep(0)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await running


class Remote:
    """Answers with a record for every key that it is asked for, unless it is told another answer; remembers what it was asked."""

    def __init__(self) -> None:
        self.answer: Callable[[Request], Awaitable[Response]] = self.fine
        self.targets: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.most_at_once = 0
        self._at_once = 0
        self.app = Starlette(routes=[Route("/{path:path}", self._take)])
        self.port = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _take(self, request: Request) -> Response:
        path, query = request.scope["raw_path"].decode(), request.scope["query_string"].decode()
        self.targets.append(f"{path}?{query}" if query else path)
        self.headers.append(dict(request.headers))
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return await self.answer(request)
        finally:
            self._at_once -= 1

    async def fine(self, request: Request) -> Response:
        keys = request.query_params.getlist("id")
        found = [record(key) for key in keys if not key.startswith("no")]
        return JSONResponse(found)


def record(key: str) -> dict[str, Any]:
    """What the service knows of a key."""
    return {"id": int(key) if key.isdigit() else key, "name": f"Customer {key}"}


@asynccontextmanager
async def remote() -> AsyncIterator[Remote]:
    service = Remote()
    async with listening(service.app) as port:
        service.port = port
        yield service


@asynccontextmanager
async def raw(handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[int]:
    """What listens and speaks no HTTP but the test's own; gives the port."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handle(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]

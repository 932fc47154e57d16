"""The baseline server: a bare ASGI application that runs the recorded statements and sends the recorded response."""

import os
import sys
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import uvicorn

from tests.bench.replay import Script, read_script, replay

DATABASE_VARIABLE = "HEADWATER_BENCH_BASELINE_DATABASE_URL"


class BaselineApp:
    """The application. The extensions of a request name the row, the sample and the text that is new in each request."""

    def __init__(self, address: str, recording: dict[str, Any]) -> None:
        self._address = address
        self._recording = recording
        self._pool: asyncpg.Pool[asyncpg.Record]
        self._samples: dict[str, list[tuple[Script, dict[str, Any]]]] = {
            name: [(read_script(sample["statements"]), sample["response"]) for sample in samples]
            for name, samples in recording["rows"].items()
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._run_lifespan(receive, send)
            return
        message = await receive()
        body = message["body"]
        while message.get("more_body"):
            message = await receive()
            body += message["body"]
        bench = orjson.loads(body)["extensions"]["bench"]
        script, response = self._samples[bench["row"]][bench["sample"]]
        async with self._pool.acquire() as connection:
            await replay(script, connection, bench["fresh"])
        content = orjson.dumps(response)
        headers = [(b"content-type", b"application/json; charset=utf-8"), (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _run_lifespan(self, receive: Any, send: Any) -> None:
        await receive()
        size = self._recording["pool_size"]
        self._pool = await asyncpg.create_pool(
            self._address,
            min_size=size,
            max_size=size,
            max_inactive_connection_lifetime=0,
            # the reset of asyncpg would be a statement that the service does not send
            reset=_no_reset,
            server_settings=self._recording["server_settings"],
        )
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._pool.close()
        await send({"type": "lifespan.shutdown.complete"})


async def _no_reset(_: Any) -> None:
    """Leave the connection as it is."""


class _Server(uvicorn.Server):
    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        port = self.servers[0].sockets[0].getsockname()[1]
        print(f"The baseline server serves http://127.0.0.1:{port}/graphql", file=sys.stderr, flush=True)


def serve(recording: Path) -> None:
    """Serve a recording with the settings that `headwater serve` gives to uvicorn."""
    config = uvicorn.Config(
        BaselineApp(os.environ[DATABASE_VARIABLE], orjson.loads(recording.read_bytes())),
        host="127.0.0.1",
        port=0,
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
    )
    _Server(config).run()

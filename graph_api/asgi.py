"""Serving: a process, or several, that listen and answer."""

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import uvicorn
from uvicorn.supervisors import Multiprocess

from db.errors import Unavailable
from graph_api.app import create_app
from graph_api.http.http_protocol import Connection
from graph_api.http.ops import configure_logging, freeze_gc
from graph_api.settings import Settings


def serve(settings: Settings, announce: Callable[[str], None], *, guarded: bool = True) -> None:
    """Serve until a signal comes. Announces the address once it answers there."""
    assert guarded or settings.workers == 1, "workers guard what they serve"
    configure_logging(settings.log_level)
    # worker processes read the same settings from the environment
    os.environ.update(settings.environment)
    listener = _listen(settings)
    address = f"http://{_named(settings.host)}:{listener.getsockname()[1]}/graphql"
    config = uvicorn.Config(
        create_app(settings, guarded=guarded) if settings.workers == 1 else "graph_api.app:create_worker",
        factory=settings.workers > 1,
        workers=settings.workers,
        loop="uvloop",
        http=partial(Connection, patience=settings.body_timeout),  # type: ignore[arg-type]
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_timeout,
    )
    with listener, suppress(KeyboardInterrupt):
        if settings.workers > 1:
            announce(address)
            _Workers(config, sockets=[listener]).run()
        else:
            _Server(config, lambda: announce(address)).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Says where it is once it answers there."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        freeze_gc()
        self._announce()


class _Workers(Multiprocess):
    """A terminal that is closed ends the service, as it ends any other command."""

    def handle_hup(self) -> None:
        self.handle_term()


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        raise Unavailable(
            f"Cannot listen on {settings.host}:{settings.port}: {os.strerror(error.errno or 0)}. Choose another port with --port."
        ) from error


def _named(host: str) -> str:
    return f"[{host}]" if ":" in host else host

"""Server processes: one process or several workers that serve the application."""

import asyncio
import gc
import logging
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import uvicorn
from starlette.applications import Starlette
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from db.errors import Unavailable
from graph_api.app import create_app
from graph_api.http.connection_limits import ConnectionLimits
from graph_api.http.discarding import DiscardPace
from graph_api.http.http_protocol import Connection
from graph_api.http.send_limits import SendLimits
from graph_api.log_writer import LogWriter
from graph_api.logging_setup import configure_logging
from graph_api.settings import Settings, read_settings

# Objects that are allocated, and not yet released, before the garbage collector looks for cycles among them. An answer of 450
# rows holds some 2 000 until it is sent, none of them in a cycle: with Python's threshold of 700 the collector takes a fifth of
# its time.
_GC_THRESHOLD = 10_000

# Seconds after which a thread that computes or parses gives way to the event loop, which waits for that in each of its turns:
# with Python's 5 ms, one such thread leaves it 200 turns a second.
_SWITCH_INTERVAL = 0.0005

# The kernel distributes connections among sockets that listen at one port. Elsewhere than on Linux, one of them gets all.
_DISTRIBUTES_CONNECTIONS = sys.platform == "linux"


log = logging.getLogger("uvicorn.error")


def serve(settings: Settings, announce: Callable[[str], None], *, require_auth: bool = True) -> None:
    """Serve until a signal arrives. Announce the URL once the service answers."""
    assert require_auth or settings.workers == 1, "workers always require authentication"
    log_writer = configure_logging(settings.log_level)
    # worker processes read the settings from the environment
    os.environ.update(settings.environment)
    listener = _listen(settings.host, settings.port)
    url = f"http://{_url_host(settings.host)}:{listener.getsockname()[1]}/graphql"
    config = uvicorn.Config(
        create_app(settings, require_auth=require_auth) if settings.workers == 1 else "graph_api.asgi:create_worker",
        factory=settings.workers > 1,
        workers=settings.workers,
        loop="uvloop",
        http=partial(  # type: ignore[arg-type]
            Connection,
            head_timeout=settings.body_timeout,
            limits=ConnectionLimits(settings.max_address_connections, settings.max_tenant_connections),
            send_limits=SendLimits(settings.send_timeout, settings.min_send_rate, settings.max_unsent_bytes),
            discard_pace=DiscardPace(),
        ),
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_timeout,
    )
    with listener, suppress(KeyboardInterrupt):
        if settings.workers > 1:
            if _DISTRIBUTES_CONNECTIONS:
                # the first socket has made sure that no other service listens at the port
                port = listener.getsockname()[1]
                listener.close()
                listeners = [_listen(settings.host, port, reuse_port=True) for _ in range(settings.workers)]
            else:
                listeners = [listener]
            announce(url)
            _Workers(config, listeners).run()
        else:
            try:
                _Server(config, lambda: announce(url), log_writer).run(sockets=[listener])
            finally:
                # a closed terminal ends the server without its shutdown
                log_writer.stop()


def create_worker() -> Starlette:
    """Build the application in a worker process. The parent process left the settings in the environment."""
    settings = read_settings()
    log_writer = configure_logging(settings.log_level)
    app = create_app(settings)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        # a worker whose parent was killed would serve forever
        parent = multiprocessing.parent_process()
        assert parent is not None
        loop = asyncio.get_running_loop()

        def on_parent_exit() -> None:
            loop.remove_reader(parent.sentinel)
            signal.raise_signal(signal.SIGTERM)

        loop.add_reader(parent.sentinel, on_parent_exit)
        async with app_lifespan(app):
            configure_interpreter()
            log_writer.start()
            try:
                yield
            finally:
                log_writer.stop()

    app_lifespan, app.router.lifespan_context = app.router.lifespan_context, lifespan
    return app


def configure_interpreter() -> None:
    """Set up threads and garbage collection for serving, when all objects that live as long as the process have been created.

    Collections no longer traverse those objects, and occur less often: see `_GC_THRESHOLD`.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL)
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)


class _Server(uvicorn.Server):
    """Server of a single process that announces its URL once it answers. While it serves, a thread writes the log."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None], log_writer: LogWriter) -> None:
        super().__init__(config)
        self._announce = announce
        self._log_writer = log_writer
        self._acceptors: list[Acceptor] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._acceptors = [Acceptor(it, self._create_protocol) for it in sockets or ()]
        configure_interpreter()
        self._announce()
        self._log_writer.start()

    def _create_protocol(self) -> asyncio.Protocol:
        config = self.config
        return config.http_protocol_class(  # type: ignore[call-arg]
            config=config, server_state=self.server_state, app_state=self.lifespan.state
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for acceptor in self._acceptors:
            acceptor.close()
        try:
            await super().shutdown(sockets)
        finally:
            # the process ends by the signal that stopped the server, so nothing runs after this
            self._log_writer.stop()


class Acceptor:
    """Accepts all connections that wait at a listening socket.

    uvloop accepts one in each turn of the loop. Under load, a turn takes as long as a request of each connection, so that the
    client that comes last would wait for hundreds of others. Workers leave connections to each other, and do without this.
    """

    def __init__(self, listener: socket.socket, create_protocol: Callable[[], asyncio.Protocol]) -> None:
        # uvloop refuses to watch a descriptor that it uses itself
        self._listener = listener.dup()
        self._create_protocol = create_protocol
        self._loop = asyncio.get_running_loop()
        self._accepting: set[asyncio.Task[object]] = set()
        self._loop.add_reader(self._listener, self._accept)

    def close(self) -> None:
        self._loop.remove_reader(self._listener)
        self._listener.close()

    def _accept(self) -> None:
        # the rest of the loop accepts what remains after an error, such as too many open files
        with suppress(OSError):
            while True:
                accepted, _ = self._listener.accept()
                accepted.setblocking(False)
                task = self._loop.create_task(self._loop.connect_accepted_socket(self._create_protocol, accepted))
                self._accepting.add(task)
                task.add_done_callback(partial(self._on_accepted, accepted))

    def _on_accepted(self, accepted: socket.socket, task: asyncio.Task[object]) -> None:
        self._accepting.discard(task)
        if task.cancelled():
            accepted.close()
        elif error := task.exception():
            log.error("Cannot serve an accepted connection.", exc_info=error)
            accepted.close()


class _Workers(Multiprocess):
    """Supervisor of worker processes. It ends when its terminal is closed, as any other command does.

    Each worker has a listening socket of its own, and the kernel distributes connections among them. At a shared socket, a worker
    that is idle accepts all connections that arrive at a time, and keeps them.
    """

    _listeners: list[socket.socket]
    # the socket that was returned last, and those of the workers that were in `processes` then
    _latest: socket.socket
    _listener_by_worker: dict[Process, socket.socket]

    @property
    def sockets(self) -> list[socket.socket]:
        """The socket of the worker that is created next: one that no worker serves, or that the fewest do."""
        # uvicorn reads this once for each worker that it creates, and then adds the worker to `processes`
        self._listener_by_worker = {it: self._listener_by_worker.get(it, self._latest) for it in self.processes}
        served = [listener for worker, listener in self._listener_by_worker.items() if worker.process.is_alive()]
        self._latest = min(self._listeners, key=served.count)
        return [self._latest]

    @sockets.setter
    def sockets(self, listeners: list[socket.socket]) -> None:
        self._listeners = listeners
        self._latest = listeners[0]
        self._listener_by_worker = {}

    def handle_hup(self) -> None:
        self.handle_term()

    def handle_ttou(self) -> None:
        """Ignore the signal: connections would wait at the socket of the worker that ended."""


def _listen(host: str, port: int, *, reuse_port: bool = False) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048, reuse_port=reuse_port)
    except OSError as error:
        raise Unavailable(
            f"Cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}. Choose another port with --port."
        ) from error


def _url_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host

"""Server processes: connections that wait are accepted together, and each socket has a worker."""

import asyncio
import gc
import logging
import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
import uvloop
from uvicorn.config import Config
from uvicorn.supervisors import multiprocess

from graph_api.asgi import Acceptor, _Workers

pytestmark = pytest.mark.unit

CONNECTIONS = 50


class Accepted(asyncio.Protocol):
    def __init__(self, transports: list[asyncio.BaseTransport]) -> None:
        self._transports = transports

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transports.append(transport)


def test_all_connections_that_wait_are_accepted_within_few_turns_of_the_loop_and_none_after_the_end() -> None:
    async def accept(listener: socket.socket) -> tuple[int, int]:
        transports: list[asyncio.BaseTransport] = []
        acceptor = Acceptor(listener, lambda: Accepted(transports))
        for _ in range(5):
            await asyncio.sleep(0)
        accepted = len(transports)
        acceptor.close()
        clients.enter_context(socket.create_connection(listener.getsockname()))
        await asyncio.sleep(0.05)
        for transport in transports:
            transport.close()
        return accepted, len(transports)

    with socket.create_server(("127.0.0.1", 0), backlog=CONNECTIONS) as listener, ExitStack() as clients:
        listener.setblocking(False)
        for _ in range(CONNECTIONS):
            clients.enter_context(socket.create_connection(listener.getsockname()))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            assert runner.run(accept(listener)) == (CONNECTIONS, CONNECTIONS)


def test_a_connection_that_cannot_be_served_is_closed_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> asyncio.Protocol:
        raise RuntimeError("no protocol")

    async def accept(listener: socket.socket) -> None:
        acceptor = Acceptor(listener, fail)
        await asyncio.sleep(0.05)
        gc.collect()
        acceptor.close()

    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        listener.setblocking(False)
        client.settimeout(5)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, caplog.at_level(logging.ERROR):
            runner.run(accept(listener))
        assert client.recv(1) == b""
    assert [it.message for it in caplog.records] == ["Cannot serve an accepted connection."]


class Worker:
    """Worker of uvicorn's supervisor, without a process. `on_join` is called when the supervisor waits for its end."""

    exitcode = pid = 1

    def __init__(self, config: Config, sockets: list[socket.socket]) -> None:
        self.process = self
        self.sockets = sockets
        self.lives = True
        self.on_join: Callable[[], object] = lambda: None

    def is_alive(self, **_: Any) -> bool:
        return self.lives

    def start(self) -> None: ...

    def end(self) -> None:
        self.lives = False

    kill = end

    def join(self) -> None:
        self.on_join()


def test_each_socket_has_a_worker_again_after_several_workers_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocess, "SIGNALS", {})
    monkeypatch.setattr(multiprocess, "Process", Worker)
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(3)]
        supervisor = _Workers(Config("", workers=3, log_config=None), listeners)

        def workers() -> list[Worker]:
            return supervisor.processes  # type: ignore[return-value]

        def served() -> list[int]:
            return sorted(listeners.index(it) for worker in workers() for it in worker.sockets if worker.lives)

        supervisor.init_processes()
        assert served() == [0, 1, 2]
        for first, second in ((1, 0), (0, 2), (2, 1)):
            # the second ends while the supervisor replaces the first, having checked it or not
            workers()[first].end()
            workers()[first].on_join = workers()[second].end
            supervisor.keep_subprocess_alive()
            supervisor.keep_subprocess_alive()
            assert served() == [0, 1, 2]

"""The server process: connections that wait are accepted together."""

import asyncio
import socket
from contextlib import ExitStack

import pytest
import uvloop

from graph_api.asgi import Acceptor

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

"""An HTTP client that costs next to nothing: it writes bytes made beforehand and looks for the length of what comes back."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class HttpConnection(asyncio.Protocol):
    """One kept-alive connection, one request at a time. `status` is that of the last answer."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._received = bytearray()
        self.status = 0
        self._begin = 0
        self._end = 0
        self._answer: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is one without saying so
        self._transport = cast(asyncio.Transport, transport)

    def ask(self, request: bytes) -> asyncio.Future[bytes]:
        """Send a request; the future is the body of its answer."""
        self._received.clear()
        self._end = 0
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        if not self._end:
            self._begin = received.find(b"\r\n\r\n") + 4
            if self._begin < 4:
                return
            length = _LENGTH.search(received, 0, self._begin)
            if length is None or not received.startswith(b"HTTP/1.1 "):
                self._fail(ConnectionError(f"Not an answer: {received.decode(errors='replace')}"))
                return
            self.status = int(received[9:12])
            self._end = self._begin + int(length[1])
        if len(received) >= self._end and self._answer and not self._answer.done():
            self._answer.set_result(bytes(received[self._begin : self._end]))

    def header(self, name: bytes) -> bytes | None:
        """What a header of the last answer says."""
        found = re.search(rb"\r\n" + name + rb": *([^\r]*)\r\n", self._received[: self._begin], re.IGNORECASE)
        return found and found[1]

    def write(self, data: bytes) -> None:
        """Send more of a request that was sent in part."""
        if not self.closed:
            self._transport.write(data)

    @property
    def closed(self) -> bool:
        return self._transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or ConnectionError("The server closed the connection."))

    def close(self) -> None:
        self._answer = None
        self._transport.close()

    def abort(self) -> None:
        """Go away, whatever was asked."""
        self._answer = None
        self._transport.abort()

    def _fail(self, error: Exception) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_exception(error)


@asynccontextmanager
async def connected(port: int, number: int) -> AsyncIterator[list[HttpConnection]]:
    """So many connections to a port of this machine."""
    loop = asyncio.get_running_loop()
    connections: list[HttpConnection] = []
    try:
        for _ in range(number):
            _, connection = await loop.create_connection(HttpConnection, "127.0.0.1", port)
            connections.append(connection)
        yield connections
    finally:
        for connection in connections:
            connection.close()


def post(port: int, body: bytes, key: str) -> bytes:
    """A whole request of the bearer of a key, as bytes."""
    head = (
        f"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: application/json\r\n"
        f"X-API-Key: {key}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body

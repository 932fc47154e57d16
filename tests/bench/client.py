"""Minimal HTTP client, which costs almost nothing: it writes prepared bytes and reads as many as the response announces."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class HttpConnection(asyncio.Protocol):
    """One kept-alive connection with one request at a time. `status` is that of the last response, and `lost` is done when the
    connection is."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._received = bytearray()
        self.status = 0
        self._body_start = 0
        self._body_end = 0
        self._response: asyncio.Future[bytes] | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport does not declare that it is one
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes) -> asyncio.Future[bytes]:
        """Send a request. The future is the body of its response."""
        self._received.clear()
        self._body_end = 0
        self._response = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._response

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        if not self._body_end:
            self._body_start = received.find(b"\r\n\r\n") + 4
            if self._body_start < 4:
                return
            length = _LENGTH.search(received, 0, self._body_start)
            if length is None or not received.startswith(b"HTTP/1.1 "):
                self._fail(ConnectionError(f"Not an HTTP response: {received.decode(errors='replace')}"))
                return
            self.status = int(received[9:12])
            self._body_end = self._body_start + int(length[1])
        if len(received) >= self._body_end and self._response and not self._response.done():
            self._response.set_result(bytes(received[self._body_start : self._body_end]))

    def header(self, name: bytes) -> bytes | None:
        """Return the value of a header of the last response."""
        match = re.search(rb"\r\n" + name + rb": *([^\r]*)\r\n", self._received[: self._body_start], re.IGNORECASE)
        return match and match[1]

    def write(self, data: bytes) -> None:
        """Send more of a request that was sent in part."""
        if not self.closed:
            self._transport.write(data)

    @property
    def closed(self) -> bool:
        return self._transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(None)
        self._fail(exc or ConnectionError("The server closed the connection."))

    def close(self) -> None:
        self._response = None
        self._transport.close()

    async def leave(self) -> None:
        """Close the connection, and wait until it is."""
        self.close()
        await asyncio.shield(self.lost)

    def abort(self) -> None:
        """Close the connection without waiting for a response."""
        self._response = None
        # asyncio's transport fails if its connection is lost already
        if not self.lost.done():
            self._transport.abort()

    def _fail(self, error: Exception) -> None:
        if self._response and not self._response.done():
            self._response.set_exception(error)


@asynccontextmanager
async def connected(port: int, count: int) -> AsyncIterator[list[HttpConnection]]:
    """Open so many connections to a port of this machine."""
    loop = asyncio.get_running_loop()
    connections: list[HttpConnection] = []
    try:
        for _ in range(count):
            _, connection = await loop.create_connection(HttpConnection, "127.0.0.1", port)
            connections.append(connection)
        yield connections
    finally:
        for connection in connections:
            connection.close()


def post(port: int, body: bytes, key: str | None, path: str = "/graphql", content_type: str = "application/json") -> bytes:
    """Return the bytes of a request with a body, of a GraphQL request by default, and with an API key or without one."""
    credentials = "" if key is None else f"X-API-Key: {key}\r\n"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: application/json\r\n"
        f"{credentials}Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body

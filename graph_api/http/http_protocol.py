"""HTTP/1.1 connections: limits of time and size for request heads, and a close that lets the client read the response."""

from asyncio import AbstractEventLoop, Transport
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Bytes of a request line and its headers.
MAX_HEAD_BYTES = 65_536

# Seconds for which, and bytes up to which, a closed connection still reads and discards what the client sends.
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 8_388_608


class _ResponseTransport:
    """Transport that sends what is written in one step of the loop at once, and whose `close` is replaced by a lingering close.

    uvicorn writes the head and the body of a response separately: two system calls, and a client that is woken twice.
    """

    def __init__(self, transport: Transport, loop: AbstractEventLoop, close: Callable[[], None]) -> None:
        self._transport = transport
        self._loop = loop
        self._written: list[bytes] = []
        self.close = close
        self.is_lingering = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._written:
            self._flushing = self._loop.call_soon(self.flush)
        self._written.append(data)

    def flush(self) -> None:
        """Send what was written."""
        if self._written:
            self._flushing.cancel()
            data = b"".join(self._written)
            self._written.clear()
            self._transport.write(data)

    def is_closing(self) -> bool:
        return self.is_lingering or self._transport.is_closing()


class Connection(HttpToolsProtocol):
    """Protocol of one connection.

    It closes connections that send no request, send a head too slowly, keep sending after their response, or send a head that is
    too large. The time limit of a body is up to the endpoint.

    Closing a socket with unread input makes the kernel reset the connection, and the client loses the response. So where more
    input may come, the connection is closed for writing first, and for reading a moment later.
    """

    def __init__(self, *arguments: Any, head_timeout: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head_timeout = head_timeout
        # True until the head of a request is complete; what follows is its body
        self._in_head = True
        self._head_bytes = 0
        self._discarded_bytes = 0
        self._timer = self.loop.call_later(head_timeout, self._on_timeout)

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._response_transport = _ResponseTransport(transport, self.loop, self._close_lingering)
        super().connection_made(self._response_transport)  # type: ignore[arg-type]

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._response_transport.is_lingering:
            self._discarded_bytes += len(data)
            if self._discarded_bytes > _LINGER_BYTES:
                self._transport.close()
            return
        if not self._in_head:
            super().data_received(data)
            return
        room = MAX_HEAD_BYTES - self._head_bytes
        self._head_bytes += len(data)
        super().data_received(data[:room])
        # most heads arrive at once, and need no timer
        if self._is_head_incomplete() and self._timer.cancelled():
            self._start_timer()
        if len(data) <= room or self.transport.is_closing():
            return
        # the rest may be a body, or a pipelined request
        if self._is_head_too_large():
            reason = f"The request line and headers may have at most {MAX_HEAD_BYTES} bytes."
            self._reject(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, reason)
        else:
            super().data_received(data[room:])

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._timer.cancel()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        self._timer.cancel()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._response_transport.flush()
        super().on_response_complete()
        if not self._in_head and self.cycle.response_complete and not self.transport.is_closing():
            # the endpoint answered without reading the whole body
            self._start_timer()

    def _is_head_incomplete(self) -> bool:
        return self._in_head and self._head_bytes > 0

    def _is_head_too_large(self) -> bool:
        return self._in_head and self._head_bytes > MAX_HEAD_BYTES

    def _start_timer(self) -> None:
        self._timer.cancel()
        self._timer = self.loop.call_later(self._head_timeout, self._on_timeout)

    def _on_timeout(self) -> None:
        if self.transport.is_closing():
            return
        if self._is_head_incomplete():
            reason = f"The request line and headers did not arrive within {self._head_timeout:g} s."
            self._reject(HTTPStatus.REQUEST_TIMEOUT, reason)
        else:
            self.transport.close()

    def _close_lingering(self) -> None:
        """Close the connection, at once if no more input is expected."""
        self._response_transport.flush()
        if self._response_transport.is_closing() or (self._in_head and not self._head_bytes):
            self._transport.close()
            return
        self._response_transport.is_lingering = True
        self.flow.resume_reading()
        self._transport.write_eof()
        self._timer.cancel()
        self._timer = self.loop.call_later(_LINGER_SECONDS, self._transport.close)

    def _reject(self, status: HTTPStatus, reason: str) -> None:
        text = reason.encode()
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(text)}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + text)
        self.transport.close()

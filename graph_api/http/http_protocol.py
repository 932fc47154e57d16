"""Connections: how long, and how large, what comes before a request may be, and how one ends whose client is still sending."""

from asyncio import Transport
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Bytes of a request line and its headers.
HEAD_BYTES = 65_536

# How long, and how much, a client that is refused may go on sending what nobody looks at.
_LINGERING = 2.0
_LINGERING_BYTES = 8_388_608


class _LingeringTransport:
    """A transport that has somebody else say how it is closed."""

    def __init__(self, transport: Transport, leave: Callable[[], None]) -> None:
        self._transport = transport
        self.write = transport.write
        self.close = leave
        self.left = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self.left or self._transport.is_closing()


class Connection(HttpToolsProtocol):
    """One that sends no request, or drips one, or goes on with one that is answered, is closed; one whose head is too large, too.
    Once a request is there, whoever answers it says how long its body may take.

    What a client has sent and nobody has read would have the system reset the connection, so that the client were not told why it
    is closed. Where something may still come, it is closed to what is said at first, and to what is heard a moment later.
    """

    def __init__(self, *arguments: Any, patience: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._patience = patience
        # until the head of a request is whole; what follows is its body
        self._in_head = True
        self._received = 0
        self._discarded = 0
        self._closing = self.loop.call_later(patience, self._give_up)

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._farewell = _LingeringTransport(transport, self._leave)
        super().connection_made(self._farewell)  # type: ignore[arg-type]

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._farewell.left:
            self._discarded += len(data)
            if self._discarded > _LINGERING_BYTES:
                self._transport.close()
            return
        if not self._in_head:
            super().data_received(data)
            return
        if self._closing.cancelled():
            self._wait()
        room = HEAD_BYTES - self._received
        self._received += len(data)
        super().data_received(data[:room])
        if len(data) <= room or self.transport.is_closing():
            return
        # what is left may be the body, or another request that came right behind
        if self._too_large():
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"What comes before a body has at most {HEAD_BYTES} bytes.")
        else:
            super().data_received(data[room:])

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._closing.cancel()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head = True
        self._received = 0
        self._closing.cancel()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._in_head and self.cycle.response_complete and not self.transport.is_closing():
            # nobody reads what is left of its body
            self._wait()

    def _too_large(self) -> bool:
        return self._in_head and self._received > HEAD_BYTES

    def _wait(self) -> None:
        self._closing.cancel()
        self._closing = self.loop.call_later(self._patience, self._give_up)

    def _give_up(self) -> None:
        if self.transport.is_closing():
            return
        if self._in_head and self._received:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, f"The request did not come within {self._patience:g} s.")
        else:
            self.transport.close()

    def _leave(self) -> None:
        if self._farewell.is_closing() or (self._in_head and not self._received):
            self._transport.close()
            return
        self._farewell.left = True
        self.flow.resume_reading()
        self._transport.write_eof()
        self._closing.cancel()
        self._closing = self.loop.call_later(_LINGERING, self._transport.close)

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        text = reason.encode()
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(text)}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + text)
        self.transport.close()

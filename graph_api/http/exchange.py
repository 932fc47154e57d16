"""Exchanges: a request and its response on a connection, as an ASGI application receives and sends them."""

import asyncio
import logging
from http import HTTPStatus
from math import inf
from typing import Protocol

from starlette.types import ASGIApp, Message, Scope
from uvicorn.protocols.http.flow_control import FlowControl

_STATUS_LINES = {it.value: f"HTTP/1.1 {it.value} {it.phrase}\r\n".encode() for it in HTTPStatus}
_STATUSES_WITHOUT_BODY = (204, 304)

# Announced bytes of a body that is discarded after the response, so that the connection can be used again. One that has more is
# closed.
_MAX_UNREAD_BYTES = 65_536

# All that a header may contain, besides the end of its line.
_TEXT = bytes([9, *range(32, 127), *range(128, 256)])

log = logging.getLogger("uvicorn.error")


class ExchangeConnection(Protocol):
    """The connection of an exchange, as far as the exchange uses it."""

    flow: FlowControl

    def write(self, data: bytes) -> None: ...

    def resume_reading(self) -> None: ...

    def is_closing(self) -> bool: ...

    def close(self) -> None: ...

    def date_header(self) -> list[tuple[bytes, bytes]]: ...

    def on_response_complete(self, exchange: "Exchange") -> None: ...

    def on_task_end(self, task: asyncio.Task[None]) -> None: ...


class Exchange:
    """A request and its response: `receive` and `send` of an ASGI application."""

    __slots__ = (
        "_awaited_bytes",
        "_changed",
        "_connection",
        "_expects_continue",
        "_has_news",
        "_is_chunked",
        "_start",
        "body",
        "has_started",
        "is_body_complete",
        "is_complete",
        "is_disconnected",
        "keeps_alive",
        "scope",
        "task",
    )

    task: asyncio.Task[None]

    def __init__(self, connection: ExchangeConnection, scope: Scope, *, keeps_alive: bool, expects_continue: bool) -> None:
        self.scope = scope
        self.keeps_alive = keeps_alive
        # one that a client sends in small chunks would be copied with each, if it could not grow
        self.body = bytearray()
        self.is_body_complete = self.is_disconnected = self.is_complete = False
        self._connection = connection
        self._expects_continue = expects_continue
        # a part of the body has arrived, or the client has left; the event exists once `receive` has waited
        self._has_news = False
        self._changed: asyncio.Event | None = None
        # the head of the response, which is sent together with the first part of the body
        self._start: Message | None = None
        self.has_started = self._is_chunked = False
        self._awaited_bytes = 0

    async def run(self, application: ASGIApp) -> None:
        """Have the application answer. A response that it does not complete is broken off."""
        if self.is_body_complete:
            # it has arrived together with the head, so that nobody has to wait for it
            self.scope["body"], self.body = bytes(self.body), bytearray()
        try:
            await application(self.scope, self.receive, self.send)
            if not self.is_complete and not self.is_disconnected:
                raise RuntimeError("The application returned without completing its response.")
        except (KeyboardInterrupt, SystemExit):
            # a signal that ends the process is no error of the application
            raise
        except BaseException as error:
            log.error("Exception in ASGI application\n", exc_info=error)
            if self.has_started:
                self._connection.close()
                return
            headers = [(b"content-length", b"0"), (b"connection", b"close")]
            await self.send({"type": "http.response.start", "status": 500, "headers": headers})
            await self.send({"type": "http.response.body"})
        finally:
            self._connection.on_task_end(self.task)

    def disconnect(self) -> None:
        """Note that the client cannot complete its request, or read its response."""
        self.is_disconnected = True
        self.notify()

    def notify(self) -> None:
        """Note that there is something to receive."""
        self._has_news = True
        if self._changed is not None:
            self._changed.set()

    async def receive(self) -> Message:
        connection = self._connection
        if self._expects_continue and not connection.is_closing():
            self._expects_continue = False
            connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not self.is_disconnected and not self.is_complete:
            connection.resume_reading()
            if not self._has_news:
                self._changed = self._changed or asyncio.Event()
                await self._changed.wait()
                self._changed.clear()
            self._has_news = False
        if self.is_disconnected or self.is_complete:
            return {"type": "http.disconnect"}
        body, self.body = self.scope.pop("body", b"") or bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": not self.is_body_complete}

    async def send(self, message: Message) -> None:
        connection = self._connection
        if connection.flow.write_paused and not self.is_disconnected:
            await connection.flow.drain()
        if self.is_disconnected:
            return
        if message["type"] == "http.response.start" and not self.has_started:
            self._start = message
            return
        if message["type"] != "http.response.body" or self.is_complete or (self._start is None and not self.has_started):
            raise RuntimeError(f"Unexpected ASGI message {message['type']!r}.")
        start, self._start = self._start, None
        body, is_last = message.get("body", b""), not message.get("more_body", False)
        head = b"" if start is None else self._head(start["status"], start["headers"])
        if self.scope["method"] == "HEAD":
            body = b""
        elif self._is_chunked:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"0\r\n\r\n" if is_last else b"")
        else:
            self._awaited_bytes -= len(body)
            if self._awaited_bytes < 0 or (is_last and self._awaited_bytes):
                raise RuntimeError("The response body has another length than its Content-Length.")
        self.has_started = True
        # one write, so that the response takes one system call and wakes the client once
        connection.write(head + body)
        if is_last:
            self.is_complete = True
            # the connection keeps its last exchange, and nobody reads the rest of the body
            self.body = bytearray()
            self.notify()
            connection.on_response_complete(self)

    def _announced_bytes(self) -> float:
        """Return the size of the body that the request announces, which is infinite for one in chunks."""
        return next((int(value) for name, value in self.scope["headers"] if name == b"content-length"), inf)

    def _head(self, status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
        """Return the head of the response, and note how its body is delimited."""
        fields = dict(headers)
        if not self.is_body_complete and self._announced_bytes() > _MAX_UNREAD_BYTES:
            self.keeps_alive = False
        lines: list[tuple[bytes, bytes]] = [*self._connection.date_header(), *headers]
        if b"close" in fields.get(b"connection", b"").lower():
            self.keeps_alive = False
        elif not self.keeps_alive:
            lines.append((b"connection", b"close"))
        length = fields.get(b"content-length")
        self._awaited_bytes = int(length or 0)
        self._is_chunked = length is None and self.scope["method"] != "HEAD" and status not in _STATUSES_WITHOUT_BODY
        if self._is_chunked:
            lines.append((b"transfer-encoding", b"chunked"))
        head = b"\r\n".join([b": ".join(line) for line in lines])
        # a value with a line feed would add a header, or a whole response
        if head.translate(None, _TEXT) != b"\r\n" * (len(lines) - 1):
            raise RuntimeError("A response header contains a control character.")
        return b"%b%b\r\n\r\n" % (_STATUS_LINES[status], head)

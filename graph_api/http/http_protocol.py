"""HTTP/1.1 connections: from a request to an ASGI application, and from its response to bytes.

uvicorn runs the server, and `RequestParser` reads the requests. The protocol between them is written here: it bounds the time of
request heads, lets a client read the response before its connection is closed, and does for a request only what it needs.
"""

import asyncio
from collections import deque
from http import HTTPStatus
from math import inf
from typing import Any, cast

from starlette.types import ASGIApp, Scope
from uvicorn.config import Config
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.utils import get_local_addr, get_remote_addr
from uvicorn.server import ServerState

from db.tenant_ids import NO_TENANT_ID
from graph_api.http.connection_limits import ConnectionLimits, countable_address
from graph_api.http.discarding import LINGER_SECONDS, DiscardPace
from graph_api.http.exchange import Exchange
from graph_api.http.request_parser import Head, RequestParser
from graph_api.http.send_limits import SendLimits, SendWatch

# Requests that are received while another one of their connection is answered. Those after them are not even parsed.
MAX_PIPELINED = 4


class Connection(asyncio.Protocol):
    """Protocol of one connection.

    It closes connections that send no request, send a head too slowly, keep sending after their response, send a head that is
    too large, or take their response too slowly. The time limit of a body is up to the endpoint.

    Closing a socket with unread input makes the kernel reset the connection, and the client loses the response. So where more
    input may come, the connection is closed for writing first, and for reading a moment later.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        head_timeout: float,
        limits: ConnectionLimits,
        send_limits: SendLimits,
        discard_pace: DiscardPace,
    ) -> None:
        if not config.loaded:
            config.load()
        # the middleware that believes trusted proxies reads all headers, and few requests have those that it looks for
        self._proxied = self._application = cast(ASGIApp, config.loaded_app)
        if isinstance(self._proxied, ProxyHeadersMiddleware):
            self._application = cast(ASGIApp, self._proxied.app)
        self._server_state = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_event_loop()
        self._keep_alive_timeout: float = config.timeout_keep_alive
        self._head_timeout = head_timeout
        self._limits = limits
        self._send_limits = send_limits
        self._discard_pace = discard_pace
        # what the connection is counted for
        self._address: str | None = None
        self._holder: int | str | None = None
        # it is stopped by an error in the input, and while the connection lingers; input is discarded then
        self._parser = RequestParser(self)
        # the request that is received, the one that is answered, and those that wait for it
        self._exchange: Exchange | None = None
        self._running: Exchange | None = None
        self._pipelined: deque[tuple[Exchange, ASGIApp]] = deque()
        # what was read and is not parsed, for too many requests wait; while there is any, no more is read
        self._unparsed = b""
        self._is_lingering = False
        # The time at which the connection times out. The timer may ring before, and then waits for the rest.
        self._deadline = inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_rings_at = inf

    # Called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport does not declare that it is one
        self._transport = cast(asyncio.Transport, transport)
        self.flow = FlowControl(self._transport)
        self._send_watch = SendWatch(self._loop, self._transport, self._send_limits)
        self._server_address, self._client_address = get_local_addr(self._transport), get_remote_addr(self._transport)
        if self._client_address is not None and not self._is_proxy(self._client_address[0]):
            address = countable_address(self._client_address[0])
            if not self._limits.admit_address(address):
                self._transport.close()
                return
            self._address = address
        self._server_state.connections.add(self)  # type: ignore[arg-type]
        self._time_out_after(self._head_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server_state.connections.discard(self)
        if self._address is not None:
            self._limits.leave_address(self._address)
        if self._holder is not None:
            self._limits.leave(self._holder)
        self._send_watch.stop()
        if self._timer is not None:
            self._timer.cancel()
        if self._running is not None and not self._running.is_complete:
            self._running.disconnect()
        self._pipelined.clear()
        self.flow.resume_writing()

    def pause_writing(self) -> None:
        self.flow.pause_writing()
        self._send_watch.start()

    def resume_writing(self) -> None:
        self.flow.resume_writing()
        self._send_watch.stop()
        self._start_next()

    def data_received(self, data: bytes) -> None:
        if self._parser.is_stopped:
            self._await_turn_to_discard()
            return
        if self._unparsed:
            self._unparsed += data
        else:
            self._parse_requests(data)

    def _await_turn_to_discard(self) -> None:
        """Read no further piece of what is discarded before it is the turn of this connection."""
        self.flow.pause_reading()
        if (seconds := self._discard_pace.reserve(self._loop.time())) is not None:
            self._loop.call_later(seconds, self._discard_next)

    def _discard_next(self) -> None:
        if not self._transport.is_closing():
            self.flow.resume_reading()

    def _parse_requests(self, data: bytes) -> None:
        """Parse requests until as many wait as may. Keep what is behind them, and read no more."""
        start, size = 0, len(data)
        while start < size and not self._parser.is_stopped:
            if len(self._pipelined) >= MAX_PIPELINED:
                self._unparsed = data[start:]
                self.flow.pause_reading()
                return
            start = self._parser.parse(data, start)
        self._unparsed = b""

    # Called by the parser

    def on_head_begin(self) -> None:
        # the first head has the time since the connection was made
        if self._exchange is not None:
            self._time_out_after(self._head_timeout)

    def on_head(self, head: Head) -> None:
        self._deadline = inf
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": head.version,
            "server": self._server_address,
            "client": self._client_address,
            "scheme": "http",
            "method": head.method,
            "root_path": "",
            "path": head.path,
            "raw_path": head.raw_path,
            "query_string": head.query_string,
            "headers": head.headers,
            "state": self._app_state.copy(),
            "connection": self,
        }
        exchange = Exchange(self, scope, keeps_alive=head.keeps_alive, expects_continue=head.expects_continue)
        self._exchange = exchange
        application = self._proxied if head.is_forwarded else self._application
        if (self._running is None or self._running.is_complete) and not self.flow.write_paused:
            self._start(exchange, application)
        else:
            self._pipelined.append((exchange, application))

    def on_body_part(self, part: bytes) -> None:
        exchange = self._exchange
        assert exchange is not None, "a body follows its head"
        if exchange.is_complete:
            return
        exchange.body += part
        if len(exchange.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        exchange.notify()

    def on_request_end(self) -> None:
        exchange = self._exchange
        assert exchange is not None, "the end follows the head"
        if exchange.is_complete:
            self._time_out_after(self._keep_alive_timeout)
        else:
            exchange.is_body_complete = True
            exchange.notify()

    def on_upgrade(self) -> None:
        # the request is answered all the same, for an upgrade is an offer
        assert self._exchange is not None, "an upgrade is part of a request"
        self._exchange.keeps_alive = False

    def on_error(self, status: HTTPStatus, reason: str) -> None:
        """Answer an error in the input, and read no further request. If an earlier request is running, only it is answered."""
        self._parser.stop()
        self._unparsed = b""
        running = self._running
        if running is not None and not running.is_complete:
            if running is not self._exchange or running.is_body_complete:
                # the client would take the error for the response to the earlier request
                running.keeps_alive = False
                self._pipelined.clear()
                self._deadline = inf
                return
            # the error is in the body of the running request, which gets no further
            running.disconnect()
            if running.has_started:
                self.close()
                return
        text = reason.encode()
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(text)}\r\nConnection: close\r\n\r\n"
        )
        self._transport.write(head.encode() + text)
        self.close()

    # Called by the exchange, and by the server

    def write(self, data: bytes) -> None:
        if not self._is_lingering:
            self._transport.write(data)

    def date_header(self) -> list[tuple[bytes, bytes]]:
        """Return the header with the time, which the server renews every second."""
        return self._server_state.default_headers

    def on_task_end(self, task: asyncio.Task[None]) -> None:
        self._server_state.tasks.discard(task)

    def on_response_complete(self, exchange: "Exchange") -> None:
        """Close the connection, or prepare it for the next request."""
        self._server_state.total_requests += 1
        if not exchange.keeps_alive:
            self.close()
        if self.is_closing():
            return
        self._start_next()
        self.resume_reading()
        if self._running is not exchange or self._pipelined:
            return
        if self._parser.is_in_body:
            # the endpoint answered without reading the whole body, and little is missing
            self._time_out_after(self._head_timeout)
        elif not self._parser.is_in_head:
            self._time_out_after(self._keep_alive_timeout)

    def claim(self, tenant_id: int, address: str) -> bool:
        """Count the connection for the tenant of its latest request. Return False if the tenant has too many.

        Without a credential it is counted for the address, if that is of a client behind a proxy; else it is already.
        """
        holder: int | str | None = tenant_id
        if tenant_id == NO_TENANT_ID:
            holder = countable_address(address) if address and self._address is None else None
        if holder != self._holder:
            if holder is not None and not self._limits.admit(holder):
                return False
            if self._holder is not None:
                self._limits.leave(self._holder)
            self._holder = holder
        self._send_watch.tenant_id = tenant_id
        return True

    def _is_proxy(self, address: str) -> bool:
        """True for an address that forwards connections of others."""
        return isinstance(self._proxied, ProxyHeadersMiddleware) and address in self._proxied.trusted_hosts

    def _start_next(self) -> None:
        """Start the next request that waits, unless the client has yet to take the responses before."""
        if self._pipelined and (self._running is None or self._running.is_complete) and not self.flow.write_paused:
            self._start(*self._pipelined.popleft())
            self._parse_requests(self._unparsed)
            self.resume_reading()

    def resume_reading(self) -> None:
        """Read further input, unless there is some that was not parsed."""
        if not self._unparsed:
            self.flow.resume_reading()

    def shutdown(self) -> None:
        """Close the connection, after its response if one is due."""
        if self._exchange is None or self._exchange.is_complete:
            self.close()
        else:
            self._exchange.keeps_alive = False

    def is_closing(self) -> bool:
        return self._is_lingering or self._transport.is_closing()

    def close(self) -> None:
        """Close the connection, at once if no more input is expected."""
        parser = self._parser
        if self.is_closing() or not (self._unparsed or parser.is_in_head or parser.is_in_body or parser.is_stopped):
            self._transport.close()
            self._send_watch.start()
            return
        self._unparsed = b""
        parser.stop()
        self._is_lingering = True
        self.flow.resume_reading()
        self._transport.write_eof()
        self._time_out_after(LINGER_SECONDS)

    def _start(self, exchange: "Exchange", application: ASGIApp) -> None:
        self._running = exchange
        # the server waits for these before it ends
        exchange.task = self._loop.create_task(exchange.run(application))
        self._server_state.tasks.add(exchange.task)

    def _time_out_after(self, seconds: float) -> None:
        """Set the deadline. A timer that rings before it is kept, so that most requests on a connection start none."""
        self._deadline = self._loop.time() + seconds
        if self._timer is not None:
            if self._timer_rings_at <= self._deadline:
                return
            self._timer.cancel()
        self._timer_rings_at = self._deadline
        self._timer = self._loop.call_later(seconds, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if (rest := self._deadline - self._loop.time()) > 0:
            if self._deadline < inf:
                self._time_out_after(rest)
        elif self._is_lingering:
            self._transport.close()
            self._send_watch.start()
        elif not self._transport.is_closing():
            if self._parser.is_in_head:
                reason = f"The request line and headers did not arrive within {self._head_timeout:g} s."
                self.on_error(HTTPStatus.REQUEST_TIMEOUT, reason)
            else:
                self.close()

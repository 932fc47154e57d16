"""Middleware that gives each request an id and a trace, and logs one line per request."""

import re
import time
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from graph_api.http.responses import internal_error
from graph_api.http.traces import continue_trace
from graph_api.logging_setup import REQUEST_FIELDS

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)

log = structlog.get_logger("headwater.http")


class RequestLog:
    """Middleware that sets X-Request-ID and traceparent, logs each request, and answers unhandled errors with 500."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        client_id = headers.get("x-request-id", "")
        trace = continue_trace(headers.getlist("traceparent"))
        request_id = client_id if _REQUEST_ID.fullmatch(client_id) else str(uuid4())
        state = scope.setdefault("state", {})
        state.update(request_id=request_id, trace=trace)
        status = 0
        started = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update({"X-Request-ID": request_id, "traceparent": trace.traceparent})
            await send(message)

        fields = REQUEST_FIELDS.set({"request_id": request_id, "trace_id": trace.trace_id})
        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            log.exception("unhandled error")
            # a response that has begun can only be broken off
            if status:
                raise
            await internal_error(scope)(scope, receive, send_with_id)
        finally:
            log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                milliseconds=round((time.perf_counter() - started) * 1000, 2),
                request_id=request_id,
                trace_id=trace.trace_id,
                **{name: state[name] for name in ("operation", "errors") if state.get(name)},
            )
            REQUEST_FIELDS.reset(fields)

"""What those who run the service look at: health, readiness, and one line of log a request."""

import gc
import logging
import re
import time
from typing import Any
from uuid import uuid4

import orjson
import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from db.errors import HeadwaterError
from db.migrations import latest_revision
from graph_api.http.responses import answer, internal_error
from graph_api.http.traces import going_on

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)

log = structlog.get_logger("headwater.http")


async def health(_: Request) -> Response:
    """The process lives."""
    return answer({"status": "ok"})


async def ready(request: Request) -> Response:
    """The database answers, and its schema is the one this code was written for."""
    try:
        revision = await request.app.state.revision.get(None)
    except HeadwaterError as error:
        return answer({"status": "unavailable", "reason": error.message}, 503)
    if revision != latest_revision():
        reason = f"The database is at revision {revision}, this service needs {latest_revision()}. Run: headwater migrate"
        return answer({"status": "unavailable", "reason": reason}, 503)
    return answer({"status": "ok", "revision": revision})


class RequestLog:
    """Gives each request its id and its place in a trace, in and out, and writes one line about it when it is done."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        sent = headers.get("x-request-id", "")
        trace = going_on(headers.getlist("traceparent"))
        request_id = sent if _REQUEST_ID.fullmatch(sent) else str(uuid4())
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

        structlog.contextvars.bind_contextvars(request_id=request_id, trace_id=trace.trace_id)
        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            log.exception("unforeseen")
            # once an answer has begun, all that is left is to break it off
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
                **{name: state[name] for name in ("operation", "errors") if state.get(name)},
            )
            structlog.contextvars.unbind_contextvars("request_id", "trace_id")


def freeze_gc() -> None:
    """What is here once the service is up stays: the collector need not go through it again and again while requests wait."""
    gc.collect()
    gc.freeze()


def configure_logging(level: str) -> None:
    """Every line of log is one JSON object on standard error, whoever writes it."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(serializer=lambda event, **_: orjson.dumps(event, default=str).decode()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # uvicorn tells of starting and stopping; what it says of each request, RequestLog says. What httpx asks names keys of records
    for name in ("uvicorn", "uvicorn.error", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(max(logging.getLevelName(level), logging.WARNING))

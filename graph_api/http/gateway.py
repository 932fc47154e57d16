"""The outermost ASGI application: what all requests have in common."""

import re
import time
from collections.abc import Mapping, Sequence
from os import urandom

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from graph_api.http.browsers import CrossOriginPolicy, add_security_headers
from graph_api.http.loopback import is_loopback_request, not_loopback_response
from graph_api.http.request_headers import RequestHeaders
from graph_api.http.responses import internal_error
from graph_api.http.traces import continue_trace
from graph_api.logging_setup import REQUEST_FIELDS

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")

log = structlog.get_logger("headwater.http")


class Gateway:
    """ASGI application that gives each request its id and its trace, completes the headers of its response, and logs it.

    It answers unhandled errors with 500. A path in `direct` is answered by its own application, without the router.
    """

    def __init__(self, router: ASGIApp, direct: Mapping[str, ASGIApp], origins: Sequence[str], *, loopback_only: bool) -> None:
        self._router = router
        self._direct = direct
        self._cross_origin_policy = CrossOriginPolicy(origins) if origins else None
        self._loopback_only = loopback_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._router(scope, receive, send)
            return
        headers = RequestHeaders(scope["headers"])
        policy = self._cross_origin_policy
        if policy is not None and policy.is_preflight(scope, headers):
            await _send_preflight_response(policy, scope, receive, send)
            return
        await self._answer(scope, receive, send, headers)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, headers: RequestHeaders) -> None:
        started = time.perf_counter()
        request_id = _request_id(headers.get(b"x-request-id"))
        trace = continue_trace(headers.traceparents())
        state = scope.setdefault("state", {})
        state["headers"] = headers
        state["request_id"] = request_id
        state["trace"] = trace
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                response_headers = message["headers"]
                add_security_headers(response_headers)
                response_headers.append((b"x-request-id", request_id.encode()))
                response_headers.append((b"traceparent", trace.traceparent.encode()))
                if self._cross_origin_policy is not None:
                    response_headers.extend(self._cross_origin_policy.response_headers(headers.get(b"origin")))
            await send(message)

        fields = REQUEST_FIELDS.set({"request_id": request_id, "trace_id": trace.trace_id})
        try:
            await self._application(scope, headers)(scope, receive, send_with_headers)
        except Exception:
            log.exception("unhandled error")
            # a response that has begun can only be broken off
            if status:
                raise
            await internal_error(scope)(scope, receive, send_with_headers)
        finally:
            optional = {name: state[name] for name in ("operation", "errors") if state.get(name)}
            log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                milliseconds=round((time.perf_counter() - started) * 1000, 2),
                **optional,
                request_id=request_id,
                trace_id=trace.trace_id,
            )
            REQUEST_FIELDS.reset(fields)

    def _application(self, scope: Scope, headers: RequestHeaders) -> ASGIApp:
        """Return the application that answers a request."""
        if self._loopback_only and not is_loopback_request(scope, headers):
            return not_loopback_response(scope)
        return self._direct.get(scope["path"], self._router)


def _request_id(of_client: bytes | None) -> str:
    """Return the request id that the client sent, or a new UUID if there is none or it is invalid."""
    if of_client is not None and _REQUEST_ID.fullmatch(of_client):
        return of_client.decode()
    # as uuid4() does, at half the cost
    digits = urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


async def _send_preflight_response(policy: CrossOriginPolicy, scope: Scope, receive: Receive, send: Send) -> None:
    response = policy.preflight_response(scope)
    add_security_headers(response.raw_headers)
    await response(scope, receive, send)

"""The outermost ASGI application: what all requests have in common."""

import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from graph_api.http.browsers import CrossOriginPolicy, add_security_headers
from graph_api.http.loopback import is_loopback_request, not_loopback_response
from graph_api.http.request_headers import RequestHeaders
from graph_api.http.responses import internal_error
from graph_api.http.traces import continue_trace, random_bytes
from graph_api.logging_setup import REQUEST_FIELDS

# The digit of a UUID that holds its variant, by a random digit.
_VARIANTS = {f"{digit:x}": "89ab"[digit & 3] for digit in range(16)}

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")

# Returns the response to a request.
Respond = Callable[[Scope, Receive], Awaitable[Response]]

log = structlog.get_logger("headwater.http")


class Gateway:
    """ASGI application that gives each request its id and its trace, completes the headers of its response, and logs it.

    It answers unhandled errors with 500. A path in `direct` is answered by a function, without the router.
    """

    def __init__(self, router: ASGIApp, direct: Mapping[str, Respond], origins: Sequence[str], *, loopback_only: bool) -> None:
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
        started = time.perf_counter()
        request_id = _request_id(headers.get(b"x-request-id"))
        trace = continue_trace(headers.all(b"traceparent"))
        state = scope.setdefault("state", {})
        state.update(headers=headers, request_id=request_id, trace=trace, status=0)
        fields = REQUEST_FIELDS.set({"request_id": request_id, "trace_id": trace.trace_id})
        try:
            await self._answer(scope, receive, send)
        finally:
            optional = {}
            if operation := state.get("operation"):
                optional["operation"] = operation
            if errors := state.get("errors"):
                optional["errors"] = errors
            log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=state["status"],
                milliseconds=round((time.perf_counter() - started) * 1000, 2),
                request_id=request_id,
                trace_id=trace.trace_id,
                **optional,
            )
            REQUEST_FIELDS.reset(fields)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response to a request, or to the error that it causes."""
        state = scope["state"]
        is_routed = False
        try:
            if self._loopback_only and not is_loopback_request(scope, state["headers"]):
                await self._send(not_loopback_response(scope), scope, receive, send)
            elif (respond := self._direct.get(scope["path"])) is not None:
                await self._send(await respond(scope, receive), scope, receive, send)
            else:
                is_routed = True

                async def send_with_headers(message: Message) -> None:
                    if message["type"] == "http.response.start":
                        self._complete(message["status"], message["headers"], state)
                    await send(message)

                await self._router(scope, receive, send_with_headers)
        except Exception:
            log.exception("unhandled error")
            # A response of the router that has begun can only be broken off. A direct response is sent at once, so that one that
            # fails has sent nothing.
            if is_routed and state["status"]:
                raise
            await self._send(internal_error(scope), scope, receive, send)

    async def _send(self, response: Response, scope: Scope, receive: Receive, send: Send) -> None:
        self._complete(response.status_code, response.raw_headers, scope["state"])
        await response(scope, receive, send)

    def _complete(self, status: int, headers: list[tuple[bytes, bytes]], state: dict[str, Any]) -> None:
        """Note the status of a response, and add the headers that all responses have."""
        state["status"] = status
        add_security_headers(headers)
        headers.append((b"x-request-id", state["request_id"].encode()))
        headers.append((b"traceparent", state["trace"].traceparent.encode()))
        if self._cross_origin_policy is not None:
            headers.extend(self._cross_origin_policy.response_headers(state["headers"].get(b"origin")))


def _request_id(of_client: bytes | None) -> str:
    """Return the request id that the client sent, or a new UUID if there is none or it is invalid."""
    if of_client is not None and _REQUEST_ID.fullmatch(of_client):
        return of_client.decode()
    # as uuid4() does, at a fraction of the cost
    digits = random_bytes(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{_VARIANTS[digits[16]]}{digits[17:20]}-{digits[20:]}"


async def _send_preflight_response(policy: CrossOriginPolicy, scope: Scope, receive: Receive, send: Send) -> None:
    response = policy.preflight_response(scope)
    add_security_headers(response.raw_headers)
    await response(scope, receive, send)

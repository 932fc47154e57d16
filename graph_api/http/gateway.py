"""The outermost ASGI application: what all requests have in common."""

import time
from collections.abc import Awaitable, Callable, Mapping

import structlog
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from graph_api.http.browsers import CrossOriginPolicy
from graph_api.http.loopback import is_loopback_request, not_loopback_response
from graph_api.http.request import HttpRequest
from graph_api.http.responses import add_security_headers, internal_error
from graph_api.logging_setup import REQUEST_FIELDS

# Characters of a path that the log keeps: a line that is as long as a request head would let a stranger fill the disk.
_LOGGED_PATH_LENGTH = 500

# Returns the response to a request.
Respond = Callable[[HttpRequest, Receive], Awaitable[Response]]

log = structlog.get_logger("headwater.http")


class Gateway:
    """ASGI application that gives each request its id and its trace, completes the headers of its response, and logs it.

    It answers unhandled errors with 500. A path in `direct` is answered by a function, without the router.
    """

    def __init__(
        self, router: ASGIApp, direct: Mapping[str, Respond], cross_origin_policy: CrossOriginPolicy, *, loopback_only: bool
    ) -> None:
        self._router = router
        self._direct = direct
        self._cross_origin_policy = cross_origin_policy
        self._loopback_only = loopback_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._router(scope, receive, send)
            return
        request = HttpRequest(scope)
        # checked before the answer to a preflight request: a page whose name resolves to this machine learns nothing from it
        if self._cross_origin_policy.is_preflight(scope, request.headers) and self._is_admitted(request):
            await _send_preflight_response(self._cross_origin_policy, scope, receive, send)
            return
        started = time.perf_counter()
        scope.setdefault("state", {})["request"] = request
        fields = REQUEST_FIELDS.set({"request_id": request.request_id, "trace_id": request.trace_id})
        try:
            await self._answer(request, receive, send)
        finally:
            optional: dict[str, object] = {}
            if request.operation:
                optional["operation"] = request.operation
            if request.errors:
                optional["errors"] = request.errors
            log.info(
                "request",
                method=scope["method"],
                path=scope["path"][:_LOGGED_PATH_LENGTH],
                status=request.status,
                milliseconds=round((time.perf_counter() - started) * 1000, 2),
                request_id=request.request_id,
                trace_id=request.trace_id,
                **optional,
            )
            REQUEST_FIELDS.reset(fields)
            # the request refers to its scope: a cycle would keep both, with the body, until the garbage collector comes
            del scope["state"]["request"]

    def _is_admitted(self, request: HttpRequest) -> bool:
        """False for a request from another machine, or for another host, to a service that admits only this machine."""
        return not self._loopback_only or is_loopback_request(request)

    async def _answer(self, request: HttpRequest, receive: Receive, send: Send) -> None:
        """Send the response to a request, or to the error that it causes."""
        scope = request.scope
        is_routed = False
        try:
            if not self._is_admitted(request):
                response = not_loopback_response(request)
            elif (respond := self._direct.get(scope["path"])) is not None:
                response = await respond(request, receive)
            else:
                is_routed = True

                async def send_with_headers(message: Message) -> None:
                    if message["type"] == "http.response.start":
                        self._complete(request, message["status"], message["headers"])
                    await send(message)

                await self._router(scope, receive, send_with_headers)
                return
            self._complete(request, response.status_code, response.raw_headers)
            await response(scope, receive, send)
        except Exception:
            log.exception("unhandled error")
            # A response of the router that has begun can only be broken off. A direct response is sent at once, so that one that
            # fails has sent nothing.
            if is_routed and request.status:
                raise
            response = internal_error(request.request_id)
            self._complete(request, response.status_code, response.raw_headers)
            await response(scope, receive, send)

    def _complete(self, request: HttpRequest, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Note the status of a response, and add the headers that all responses have."""
        request.status = status
        add_security_headers(headers)
        headers.append((b"x-request-id", request.request_id.encode()))
        headers.append((b"traceparent", request.traceparent.encode()))
        headers.extend(self._cross_origin_policy.response_headers(request.headers.get(b"origin")))


async def _send_preflight_response(policy: CrossOriginPolicy, scope: Scope, receive: Receive, send: Send) -> None:
    response = policy.preflight_response(scope)
    add_security_headers(response.raw_headers)
    await response(scope, receive, send)

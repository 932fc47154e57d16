"""JSON responses, and errors in the shape of GraphQL errors."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from db.errors import Forbidden, HeadwaterError, RateLimited, Timeout, Unauthenticated, Unavailable
from graph_api.http.media_types import GRAPHQL, JSON
from schema.language.errors import INTERNAL

# HTTP status of a request that was not executed, by the code of its error. Other codes mean a faulty request.
STATUSES = {
    Unauthenticated.code: 401,
    Forbidden.code: 403,
    RateLimited.code: 429,
    Unavailable.code: 503,
    Timeout.code: 504,
}

_CONTENT_TYPES = {media_type: f"{media_type}; charset=utf-8".encode() for media_type in (JSON, GRAPHQL)}

# Default headers by status: how to authenticate, and when to retry.
_HEADERS_BY_STATUS = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}


def request_id_of(scope: Scope) -> str:
    """Return the id of a request."""
    return str(scope["state"]["request_id"])


class JsonResponse(Response):
    """JSON response, with its headers encoded directly."""

    def __init__(self, content: Any, status: int, media_type: str, headers: Mapping[str, str]) -> None:
        # Response.__init__ does the same for any content, at several times the cost
        self.status_code = status
        self.background = None
        self.body = orjson.dumps(content)
        self.raw_headers = [
            (b"content-length", b"%d" % len(self.body)),
            (b"content-type", _CONTENT_TYPES[media_type]),
            *[(name.lower().encode(), value.encode()) for name, value in headers.items()],
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body})


def json_response(
    content: Any, status: int = 200, *, media_type: str = JSON, headers: Mapping[str, str] | None = None
) -> Response:
    """Build a JSON response."""
    return JsonResponse(content, status, media_type, {**_HEADERS_BY_STATUS.get(status, {}), **(headers or {})})


def error_entry(error: HeadwaterError) -> dict[str, Any]:
    """Return an error as an entry of the `errors` of a GraphQL response."""
    extensions = {"code": error.code} if error.field is None else {"code": error.code, "field": error.field}
    return {"message": error.message, "extensions": extensions}


def status_of(codes: Iterable[str], default: int) -> int:
    """Return the HTTP status of a request that was not executed, by the codes of its errors."""
    return next((STATUSES[code] for code in codes if code in STATUSES), default)


def error_body(scope: Scope, error: HeadwaterError) -> dict[str, Any]:
    """Return the body of a response to a request that was not executed."""
    return {"errors": [error_entry(error)], "extensions": {"requestId": request_id_of(scope)}}


def error_response(
    scope: Scope, status: int, error: HeadwaterError, *, media_type: str = JSON, headers: Mapping[str, str] | None = None
) -> Response:
    """Build the response to a request that was not executed."""
    return json_response(error_body(scope, error), status, media_type=media_type, headers=headers)


def internal_error(scope: Scope) -> Response:
    """Build the response to an unhandled error. The log has the traceback; the client gets the request id to quote."""
    content = {
        "errors": [{"message": INTERNAL, "extensions": {"code": "INTERNAL"}}],
        "extensions": {"requestId": request_id_of(scope)},
    }
    return json_response(content, 500)

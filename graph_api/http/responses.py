"""JSON responses: their media type (Accept of RFC 9110), errors in the shape of GraphQL errors, and the headers of all
responses."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from db.errors import Forbidden, HeadwaterError, RateLimited, Timeout, Unauthenticated, Unavailable
from schema.language.errors import INTERNAL, log_unavailable

JSON = "application/json"
GRAPHQL = "application/graphql-response+json"

# More lenient than RFC 9110: old clients leave out the 0, or write more digits.
_WEIGHT = re.compile(r"0?\.[0-9]+|0|0\.|1(\.0*)?")
_UTF_8 = {"utf-8", "utf8"}
# Bytes of a header value whose meaning is cached. Clients send few different ones; a longer one may be anything.
_MAX_CACHED_BYTES = 256

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
_HEADERS_BY_STATUS: Mapping[int, Mapping[str, str]] = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}

_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    # responses are private to the caller, unless the endpoint sets another value
    (b"cache-control", b"no-store"),
)
_SECURITY_HEADER_NAMES = frozenset(name for name, _ in _SECURITY_HEADERS)


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


def error_entry(error: HeadwaterError, *, may_read: bool = True) -> dict[str, Any]:
    """Return an error as an entry of the `errors` of a GraphQL response, and log why something was unavailable. The
    message to a caller who may not read contains nothing stored."""
    log_unavailable([error])
    extensions = {"code": error.code} if error.field is None else {"code": error.code, "field": error.field}
    return {"message": error.message_for(may_read=may_read), "extensions": extensions}


def status_of(codes: Iterable[str], default: int) -> int:
    """Return the HTTP status of a request that was not executed, by the codes of its errors."""
    return next((STATUSES[code] for code in codes if code in STATUSES), default)


def error_body(request_id: str, error: HeadwaterError) -> dict[str, Any]:
    """Return the body of a response to a request that was not executed."""
    return {"errors": [error_entry(error)], "extensions": {"requestId": request_id}}


def error_response(
    request_id: str, status: int, error: HeadwaterError, *, media_type: str = JSON, headers: Mapping[str, str] | None = None
) -> Response:
    """Build the response to a request that was not executed."""
    return json_response(error_body(request_id, error), status, media_type=media_type, headers=headers)


def internal_error(request_id: str) -> Response:
    """Build the response to an unhandled error. The log has the traceback; the client gets the request id to quote."""
    content = {
        "errors": [{"message": INTERNAL, "extensions": {"code": "INTERNAL"}}],
        "extensions": {"requestId": request_id},
    }
    return json_response(content, 500)


def add_security_headers(headers: list[tuple[bytes, bytes]]) -> None:
    """Add the headers against sniffing, framing, cross-origin use and caching that a response does not set itself."""
    own = [name for name, _ in headers]
    if _SECURITY_HEADER_NAMES.isdisjoint(own):
        headers.extend(_SECURITY_HEADERS)
    else:
        headers.extend(header for header in _SECURITY_HEADERS if header[0] not in own)


def response_type(accept: bytes) -> str | None:
    """Choose the media type of a response by the value of Accept, as `negotiate` does."""
    return _cached_response_type(accept) if len(accept) <= _MAX_CACHED_BYTES else negotiate([accept.decode("latin-1")])


def is_json_type(content_type: bytes) -> bool:
    """True if the value of a Content-Type is JSON in UTF-8."""
    return _cached_is_json(content_type) if len(content_type) <= _MAX_CACHED_BYTES else is_json(content_type.decode("latin-1"))


@lru_cache(1_000)
def _cached_response_type(accept: bytes) -> str | None:
    return negotiate([accept.decode("latin-1")])


@lru_cache(1_000)
def _cached_is_json(content_type: bytes) -> bool:
    return is_json(content_type.decode("latin-1"))


def negotiate(accept: Iterable[str]) -> str | None:
    """Choose the media type of a response, or return None if Accept allows neither.

    The type with the higher weight wins; at equal weights one that is named wins over one that a wildcard matches; of two that
    are named the GraphQL type wins. A wildcard alone, or no Accept header, selects JSON, which clients have always received.
    """
    entries = [it for it in ",".join(accept).split(",") if it.strip()]
    weights: dict[str, float] = {}
    for name, charset, weight in map(_parse, entries):
        if charset in _UTF_8 and _WEIGHT.fullmatch(weight):
            weights[name] = max(float(weight), weights.get(name, 0))
    if not entries:
        weights["*/*"] = 1
    best, *_, media_type = max(_rank(GRAPHQL, weights), _rank(JSON, weights))
    return media_type if best else None


def is_json(content_type: str) -> bool:
    """True if a Content-Type is JSON in UTF-8."""
    name, charset, _ = _parse(content_type)
    return name == JSON and charset in _UTF_8


def _rank(media_type: str, weights: Mapping[str, float]) -> tuple[float, int, bool, str]:
    """Return the sort key of a type: its weight by the most specific range, how specific that is, and the tie-breaker."""
    for specificity, name in ((2, media_type), (1, "application/*"), (0, "*/*")):
        if name in weights:
            return weights[name], specificity, (media_type == GRAPHQL) == (specificity == 2), media_type
    return 0, 0, False, media_type


def _parse(entry: str) -> tuple[str, str, str]:
    """Split a media type into name, charset and weight. Other parameters do not matter for JSON."""
    name, *parts = (it.strip().lower() for it in entry.split(";"))
    parameters = dict(it.partition("=")[::2] for it in parts)
    return name, parameters.get("charset", "utf-8").strip('"'), parameters.get("q", "1").strip('" ')

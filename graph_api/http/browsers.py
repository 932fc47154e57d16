"""Browsers: the permission for web pages of other origins (CORS)."""

import json
import re
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from graph_api.http.request import RequestHeaders

# A browser sends a preflight request before a cross-origin request with one of these headers.
PREFLIGHT_HEADERS = ("GraphQL-Require-Preflight", "Apollo-Require-Preflight")

# An origin as browsers write it in the header Origin; any other form would never match.
_ORIGIN = re.compile(r"https?://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?")

_REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    "X-API-Key",
    "X-Request-ID",
    "traceparent",
    "X-Headwater-Tenant",
    "X-Debug-Resource-Tracking",
    *PREFLIGHT_HEADERS,
)
_VARY = (b"vary", b"Origin")
_EXPOSED_HEADERS = ("X-Request-ID", "traceparent", "RateLimit-Policy", "RateLimit", "Retry-After")


class CrossOriginPolicy:
    """Permission for web pages of configured origins to send requests and read responses. Cookies are never used."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._middleware = CORSMiddleware(
            _no_application,
            allow_origins=origins,
            allow_methods=("GET", "POST"),
            allow_headers=_REQUEST_HEADERS,
            expose_headers=_EXPOSED_HEADERS,
        )
        simple = [(name.lower().encode(), value.encode()) for name, value in self._middleware.simple_headers.items()]
        self._without_origin = [_VARY]
        self._of_other_origins = [*simple, _VARY]
        named = () if "*" in origins else tuple(origin.encode() for origin in origins)
        self._by_origin = {origin: [*simple, (b"access-control-allow-origin", origin), _VARY] for origin in named}

    def is_preflight(self, scope: Scope, headers: RequestHeaders) -> bool:
        """True if a browser asks whether a page may send a request."""
        return (
            scope["method"] == "OPTIONS"
            and headers.get(b"origin") is not None
            and headers.get(b"access-control-request-method") is not None
        )

    def preflight_response(self, scope: Scope) -> Response:
        """Build the response to a preflight request."""
        return self._middleware.preflight_response(Headers(scope=scope))

    def response_headers(self, origin: bytes | None) -> list[tuple[bytes, bytes]]:
        """Return the headers of a response to a page of an origin, or to a request without one."""
        return self._without_origin if origin is None else self._by_origin.get(origin, self._of_other_origins)


async def _no_application(_: Scope, __: Receive, ___: Send) -> None:
    """Application of a middleware that is used for its rules only."""


def parse_origins(text: str) -> object:
    """Parse origins that are a JSON list, or text separated by commas."""
    if not text.lstrip().startswith("["):
        return [origin.strip() for origin in text.split(",") if origin.strip()]
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        raise ValueError('must be a JSON list such as ["https://app.shop.example"], or origins separated by commas') from None


def validate_origins(origins: list[str]) -> list[str]:
    """Return the origins, or raise ValueError if one could never match."""
    if origins == ["*"]:
        return origins
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(
                f"{origin[:100]!r} is not an origin; use http or https, a host in lower case and optionally a port, such as"
                " https://app.shop.example, or * alone for every origin"
            )
    return origins

"""Browsers: which web pages of other origins may send requests and read responses (CORS)."""

import json
import re
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from db.errors import BadInput
from graph_api.http.request import RequestHeaders

# A browser sends a preflight request before a cross-origin request with one of these headers.
PREFLIGHT_HEADERS = ("GraphQL-Require-Preflight", "Apollo-Require-Preflight")

# An origin as browsers write it in the header Origin; any other form would never match.
_ORIGIN = re.compile(r"https?://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?")

# The origins of pages on this machine, which may be at any port.
_LOOPBACK_ORIGIN = r"https?://(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?"

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
# Headers that a page of another origin can have a browser add only after a preflight request.
_PREFLIGHTED_HEADERS = tuple(name.lower().encode() for name in (*PREFLIGHT_HEADERS, "X-API-Key"))

_EXPOSED_HEADERS = ("X-Request-ID", "traceparent", "RateLimit-Policy", "RateLimit", "Retry-After")
_EXPOSE = (b"access-control-expose-headers", ", ".join(_EXPOSED_HEADERS).encode())
_ALLOW_ORIGIN = b"access-control-allow-origin"
_VARY = (b"vary", b"Origin")


class CrossOriginPolicy:
    """Permission for web pages of listed origins to send requests and read responses. Cookies are never used.

    `loopback` lists the origins of all pages on this machine besides.
    """

    def __init__(self, origins: Sequence[str], *, loopback: bool = False) -> None:
        self._middleware = CORSMiddleware(
            _no_application,
            allow_origins=origins,
            allow_origin_regex=_LOOPBACK_ORIGIN if loopback else None,
            allow_methods=("GET", "POST"),
            allow_headers=_REQUEST_HEADERS,
            expose_headers=_EXPOSED_HEADERS,
        )
        self._allows_any = bool(origins) or loopback
        self._allows_every = "*" in origins
        self._named = frozenset() if self._allows_every else frozenset(origin.encode() for origin in origins)
        self._loopback_origin = re.compile(_LOOPBACK_ORIGIN.encode()) if loopback else None

    def is_preflight(self, scope: Scope, headers: RequestHeaders) -> bool:
        """True if a browser asks whether a page may send a request, and some pages may."""
        return (
            self._allows_any
            and scope["method"] == "OPTIONS"
            and headers.get(b"origin") is not None
            and headers.get(b"access-control-request-method") is not None
        )

    def preflight_response(self, scope: Scope) -> Response:
        """Build the response to a preflight request."""
        return self._middleware.preflight_response(Headers(scope=scope))

    def response_headers(self, origin: bytes | None) -> Sequence[tuple[bytes, bytes]]:
        """Return the headers of a response to a page of an origin, or to a request without one."""
        if not self._allows_any:
            return ()
        if origin is None:
            return (_VARY,)
        if self._allows_every:
            return (_EXPOSE, (_ALLOW_ORIGIN, b"*"), _VARY)
        return (_EXPOSE, (_ALLOW_ORIGIN, origin), _VARY) if self._is_listed(origin) else (_EXPOSE, _VARY)

    def refuse_forgeable_get(self, headers: RequestHeaders) -> None:
        """Raise BadInput if a page of an origin that is not listed by name can have a browser send this GET without asking first.

        A browser asks before it adds a header of `PREFLIGHT_HEADERS`, an API key or a token for a page of another origin. It sets
        Origin and Sec-Fetch-Site itself. A page has a browser send any Accept, and the Basic credentials that it keeps.
        """
        if any(headers.get(name, b"").strip() for name in _PREFLIGHTED_HEADERS):
            return
        scheme, _, token = headers.get(b"authorization", b"").strip().partition(b" ")
        if scheme.lower() == b"bearer" and token.strip():
            return
        origin = headers.get(b"origin")
        if (origin is not None and self._is_listed(origin)) or headers.get(b"sec-fetch-site") == b"same-origin":
            return
        raise BadInput(
            f"A GET runs a query only with the header {PREFLIGHT_HEADERS[0]} and a value, an API key, a token, an Origin that"
            " HEADWATER_CORS_ORIGINS names, or Sec-Fetch-Site: same-origin, which protects against requests from other web"
            " pages. Add the header, or use POST with JSON. Browsers that accept text/html get GraphiQL."
        )

    def _is_listed(self, origin: bytes) -> bool:
        """True if an origin is listed by name, or is on this machine and these are listed. `*` lists none by name."""
        return origin in self._named or (
            self._loopback_origin is not None and self._loopback_origin.fullmatch(origin) is not None
        )


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

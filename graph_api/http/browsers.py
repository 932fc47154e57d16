"""Browsers: CORS, and security headers of all responses."""

import json
import re
from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
_EXPOSED_HEADERS = ("X-Request-ID", "traceparent", "RateLimit-Policy", "RateLimit", "Retry-After")

_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    # responses are private to the caller, unless the endpoint sets another value
    "Cache-Control": "no-store",
}


class SecurityHeaders:
    """Middleware that adds headers against sniffing, framing, cross-origin use and caching."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


def browser_middleware(origins: Sequence[str]) -> list[Middleware]:
    """Return the outermost middlewares, so that web pages can read error responses, too. Cookies are never used."""
    security = Middleware(SecurityHeaders)
    if not origins:
        return [security]
    cors = Middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=("GET", "POST"),
        allow_headers=_REQUEST_HEADERS,
        expose_headers=_EXPOSED_HEADERS,
    )
    return [security, cors]


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

"""What browsers are told: whose pages may read an answer, and what none of them should make of it."""

from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# A request that bears one of these is not sent for a page elsewhere without its browser asking first.
PREFLIGHT_HEADERS = ("GraphQL-Require-Preflight", "Apollo-Require-Preflight")

_READ = (
    "Authorization",
    "Content-Type",
    "X-API-Key",
    "X-Request-ID",
    "traceparent",
    "X-Headwater-Tenant",
    "X-Debug-Resource-Tracking",
    *PREFLIGHT_HEADERS,
)
_TOLD = ("X-Request-ID", "traceparent", "RateLimit-Policy", "RateLimit", "Retry-After")

_SAFE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    # unless whoever answers knows better, what is asked belongs to whoever asks
    "Cache-Control": "no-store",
}


class SecurityHeaders:
    """Has browsers take an answer for what it is, keep it to themselves, and forget it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SAFE.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_safe if scope["type"] == "http" else send)


def browser_middleware(origins: Sequence[str]) -> list[Middleware]:
    """What stands around everything else, so that a page may read why it was refused. No cookie is ever asked for."""
    safe = Middleware(SecurityHeaders)
    if not origins:
        return [safe]
    cors = Middleware(
        CORSMiddleware, allow_origins=origins, allow_methods=("GET", "POST"), allow_headers=_READ, expose_headers=_TOLD
    )
    return [safe, cors]

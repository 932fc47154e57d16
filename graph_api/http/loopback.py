"""Restriction of an unauthenticated service to this machine."""

import ipaddress
import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from db.errors import BadInput, Forbidden
from graph_api.http.responses import error_response

# A name or an address, and optionally a port; nothing else that a lenient parser might read as another host.
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]@/\s]+)(?::\d{1,5})?")


def require_loopback(host: str) -> None:
    """Raise BadInput if other machines could reach an unauthenticated service on this address."""
    if not _is_loopback(host):
        raise BadInput(
            f"{host} is not a loopback address. The demo does not authenticate requests, so it listens on 127.0.0.1, ::1 or"
            " localhost only. To serve other machines, run: headwater serve.",
            field="host",
        )


class LoopbackOnly:
    """Middleware that rejects requests from other machines, and requests whose Host is not a loopback name.

    The check of Host stops DNS rebinding: a web page whose name resolves to this machine sends that name as Host.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not (_is_local_client(scope) and _is_local_host(scope)):
            error = Forbidden("Only requests from this machine, with a loopback Host such as localhost, are accepted.")
            await error_response(scope, 403, error)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _is_local_client(scope: Scope) -> bool:
    # a unix socket has no client address
    return scope.get("client") is None or _is_loopback(scope["client"][0])


def _is_local_host(scope: Scope) -> bool:
    host = _HOST.fullmatch(Headers(scope=scope).get("host", ""))
    return host is not None and _is_loopback(host[1].strip("[]"))


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

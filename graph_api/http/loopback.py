"""What nothing guards is answered to this machine only."""

import ipaddress
import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from db.errors import BadInput, Forbidden
from graph_api.http.responses import refusal

# A name or an address, and perhaps a port; nothing else that a lenient reader might take for another host.
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]@/\s]+)(?::\d{1,5})?")


def require_loopback(host: str) -> None:
    """Refuse to listen where others could reach what nothing guards yet."""
    if not _is_loopback(host):
        raise BadInput(
            f"{host} is not a loopback address. The demo asks nobody who they are, so it listens on 127.0.0.1, ::1 or localhost"
            " only. To be reached from elsewhere: headwater serve.",
            field="host",
        )


class LoopbackOnly:
    """Lets in only requests that come from this machine and know that they do: a page elsewhere that has its own name resolve to
    this machine sends that name as Host."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not (_peer_is_local(scope) and _host_is_local(scope)):
            await refusal(scope, 403, Forbidden("Only requests from this machine, to its own name, are answered."))(
                scope, receive, send
            )
            return
        await self._app(scope, receive, send)


def _peer_is_local(scope: Scope) -> bool:
    # a unix socket has no peer address, and is as local as can be
    return scope.get("client") is None or _is_loopback(scope["client"][0])


def _host_is_local(scope: Scope) -> bool:
    host = _HOST.fullmatch(Headers(scope=scope).get("host", ""))
    return host is not None and _is_loopback(host[1].strip("[]"))


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

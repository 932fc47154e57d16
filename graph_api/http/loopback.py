"""Restriction of an unauthenticated service to this machine."""

import ipaddress
import re

from starlette.responses import Response
from starlette.types import Scope

from db.errors import BadInput, Forbidden
from graph_api.http.request import HttpRequest
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


def is_loopback_request(request: HttpRequest) -> bool:
    """True if a request comes from this machine, and its Host is a loopback name.

    The check of Host stops DNS rebinding: a web page whose name resolves to this machine sends that name as Host.
    """
    return _is_local_client(request.scope) and _is_local_host(request.headers.text(b"host") or "")


def not_loopback_response(request: HttpRequest) -> Response:
    """Build the response to a request from another machine, or for another host."""
    error = Forbidden("Only requests from this machine, with a loopback Host such as localhost, are accepted.")
    return error_response(request.request_id, 403, error)


def _is_local_client(scope: Scope) -> bool:
    # a unix socket has no client address
    return scope.get("client") is None or _is_loopback(scope["client"][0])


def _is_local_host(host: str) -> bool:
    match = _HOST.fullmatch(host)
    return match is not None and _is_loopback(match[1].strip("[]"))


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

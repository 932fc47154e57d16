"""Where a service is connected to: the addresses that its name leads to, but for those that are not public."""

import asyncio
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import httpx

Address = IPv4Address | IPv6Address

# Addresses of IPv6 that are given out, and those among them, or beside them, behind which an address of IPv4 is.
_GIVEN_OUT = IPv6Network("2000::/3")
_TRANSLATED = IPv6Network("64:ff9b::/96")
# What ISATAP puts ahead of an address of IPv4, whether or not that is one of a kind.
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)
# Networks that ipaddress takes for public: of protocols, of what a cloud tells its machines, of relays, of documentation.
_NOT_PUBLIC = [IPv4Network(it) for it in ("192.0.0.0/24", "168.63.129.16/32", "192.88.99.0/24")]
_DOCUMENTATION = IPv6Network("3fff::/20")


class NotPublic(Exception):
    """A name leads only to addresses that are not public."""


def is_public(address: Address) -> bool:
    """Whether anybody on the internet would reach the same host there: not this machine, nor a network of its own."""
    if isinstance(address, IPv6Address):
        behind = address.ipv4_mapped or address.sixtofour
        if address in _TRANSLATED:
            behind = IPv4Address(int(address) & 0xFFFF_FFFF)
        if behind is None:
            interface = int(address) & 0xFFFF_FFFF_FFFF_FFFF
            if interface >> 32 in _ISATAP and not is_public(IPv4Address(interface & 0xFFFF_FFFF)):
                return False
            return address in _GIVEN_OUT and address.is_global and address not in _DOCUMENTATION
        address = behind
    if any(address in network for network in _NOT_PUBLIC):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def is_address(host: str) -> bool:
    """Whether a host is no name, but an address."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


async def resolve(host: str, port: int) -> list[Address]:
    """The addresses that a name leads to, in the order in which they are to be tried."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(socket_address[0]) for *_, socket_address in found))


class CheckedAddresses(httpx.AsyncBaseTransport):
    """Connects to one host. What a name leads to is looked at here, and what was looked at is what is connected to: a name that
    leads elsewhere a moment later leads nowhere."""

    def __init__(self, within: httpx.AsyncBaseTransport, *, private: bool, patience: float) -> None:
        self._within = within
        self._private = private
        self._patience = patience
        self._resolving: asyncio.Task[list[Address]] | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.raw_host.decode()
        if is_address(request.url.host):
            # whoever configured an address meant this address
            return await self._within.handle_async_request(request)
        allowed = [it for it in await self._addresses(request) if self._private or host == "localhost" or is_public(it)]
        if not allowed:
            raise NotPublic
        # one that swallows what is sent to it leaves time for the next
        timeout = {**request.extensions.get("timeout", {}), "connect": self._patience / len(allowed)}
        for left, address in zip(reversed(range(len(allowed))), allowed, strict=True):
            try:
                return await self._within.handle_async_request(
                    httpx.Request(
                        request.method,
                        request.url.copy_with(host=str(address)),
                        # these name the host, and so does what TLS verifies
                        headers=request.headers,
                        stream=request.stream,
                        extensions={**request.extensions, "timeout": timeout, "sni_hostname": host},
                    )
                )
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if not left:
                    raise
        raise AssertionError("the last address answers or raises")

    async def _addresses(self, request: httpx.Request) -> list[Address]:
        """What the name leads to now. It is asked for once at a time: a name server that hangs holds up one thread of a few."""
        if self._resolving is None:
            port = request.url.port or {"http": 80, "https": 443}[request.url.scheme]
            self._resolving = asyncio.create_task(resolve(request.url.raw_host.decode(), port))
            self._resolving.add_done_callback(self._resolved)
        try:
            return await asyncio.shield(self._resolving)
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError(str(error), request=request) from error

    def _resolved(self, task: asyncio.Task[list[Address]]) -> None:
        self._resolving = None
        # nobody may be waiting for it any more
        if not task.cancelled():
            task.exception()

    async def aclose(self) -> None:
        if self._resolving is not None:
            self._resolving.cancel()
        await self._within.aclose()

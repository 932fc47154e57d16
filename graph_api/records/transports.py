"""HTTP transports: a connection per request, and a check of the address before it is connected to."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from functools import cache

import httpx

from graph_api.records.addresses import Address, is_address, is_public, resolve


class NotPublic(Exception):
    """A host name resolves only to addresses that are not public."""


class CheckedAddresses(httpx.AsyncBaseTransport):
    """Transport that resolves the host, checks the addresses, and connects to the checked addresses only.

    The name is not resolved a second time, so a DNS answer that changes after the check has no effect.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport, *, allow_private: bool, connect_timeout: float) -> None:
        self._transport = transport
        self._allow_private = allow_private
        self._connect_timeout = connect_timeout
        self._resolution: asyncio.Task[list[Address]] | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.raw_host.decode()
        if is_address(request.url.host):
            # a configured address is used as it is
            return await self._transport.handle_async_request(request)
        addresses = await self._resolve(request)
        allowed = [it for it in addresses if self._allow_private or host == "localhost" or is_public(it)]
        if not allowed:
            raise NotPublic
        # share the time, so that an address that does not respond leaves some for the next
        timeout = {**request.extensions.get("timeout", {}), "connect": self._connect_timeout / len(allowed)}
        for left, address in zip(reversed(range(len(allowed))), allowed, strict=True):
            try:
                return await self._transport.handle_async_request(
                    httpx.Request(
                        request.method,
                        request.url.copy_with(host=str(address)),
                        # the Host header and the name that TLS verifies stay those of the original host
                        headers=request.headers,
                        stream=request.stream,
                        extensions={**request.extensions, "timeout": timeout, "sni_hostname": host},
                    )
                )
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if not left:
                    raise
        raise AssertionError("the last address answers or raises")

    async def _resolve(self, request: httpx.Request) -> list[Address]:
        """Resolve the host. Requests share one resolution, for each occupies one of a few threads while a name server hangs."""
        if self._resolution is None:
            port = request.url.port or {"http": 80, "https": 443}[request.url.scheme]
            self._resolution = asyncio.create_task(resolve(request.url.raw_host.decode(), port))
            self._resolution.add_done_callback(self._clear_resolution)
        try:
            return await asyncio.shield(self._resolution)
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError(str(error), request=request) from error

    def _clear_resolution(self, task: asyncio.Task[list[Address]]) -> None:
        self._resolution = None
        # reading the exception keeps asyncio from reporting it when all callers were cancelled
        if not task.cancelled():
            task.exception()

    async def aclose(self) -> None:
        if self._resolution is not None:
            self._resolution.cancel()
        await self._transport.aclose()


class OneShotTransport(httpx.AsyncBaseTransport):
    """Transport that opens a connection for each request and closes it with the response.

    A reused connection could carry bytes that followed an earlier answer, be left in the middle of an answer by a cancelled
    request, or have been verified by TLS for another name at the same address.
    """

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        transport = httpx.AsyncHTTPTransport(verify=_ssl_context(), trust_env=False, limits=limits)
        try:
            response = await transport.handle_async_request(request)
        except BaseException:
            await transport.aclose()
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        stream = _ClosingStream(transport, response.stream)
        return httpx.Response(response.status_code, headers=response.headers.raw, stream=stream)


class _ClosingStream(httpx.AsyncByteStream):
    """Response stream that closes the connection when it is closed."""

    def __init__(self, transport: httpx.AsyncHTTPTransport, stream: httpx.AsyncByteStream) -> None:
        self._transport = transport
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            await self._transport.aclose()


@cache
def _ssl_context() -> ssl.SSLContext:
    """Load the public root certificates and those of this machine, once: reading them is slow."""
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context

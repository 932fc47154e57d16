"""Keys that an issuer publishes as a JWKS: fetched, cached, and fetched again when they are old or a key id is unknown."""

import asyncio
from dataclasses import dataclass
from ipaddress import ip_address
from time import monotonic
from typing import Any

import httpx
import structlog

from db.errors import Unavailable
from graph_api.auth.key_set import MAX_BYTES, Algorithm, InvalidKeys, KeySet, read_key_set, uses_shared_secret
from graph_api.records.addresses import is_address
from graph_api.records.transports import OneShotTransport

# Seconds in which the issuer has to answer.
FETCH_TIMEOUT = 5.0
# Seconds between the starts of two fetches.
FETCH_INTERVAL = 10.0

log = structlog.get_logger("headwater.tokens")


@dataclass(frozen=True, slots=True)
class JwksSource:
    """URL of a JWKS, and the seconds for which a fetched one is used."""

    url: str
    ttl: float


def check_jwks_source(url: str, algorithm: Algorithm, ttl: float) -> JwksSource:
    """Return the source of a JWKS. Raise InvalidKeys unless its URL is https, or http on this machine."""
    if uses_shared_secret(algorithm):
        raise InvalidKeys(f"{algorithm} uses a shared secret, which is not published; set HEADWATER_JWT_KEYS to a file with it")
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        parts = httpx.URL()
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.host))
    if not is_safe or not parts.host or parts.userinfo or parts.fragment:
        raise InvalidKeys("must be an https URL, or http with a loopback host, without user, password or fragment")
    return JwksSource(url, ttl)


class RemoteKeySet:
    """Keys that an issuer publishes, cached for the TTL of their source.

    They are fetched on first use, when they are older than the TTL, and when a token has an unknown key id, but at most once
    within FETCH_INTERVAL.
    """

    def __init__(self, source: JwksSource, algorithm: Algorithm) -> None:
        self._source = source
        self._algorithm = algorithm
        self._transport = OneShotTransport()
        self._keys: KeySet | None = None
        self._last_fetch_failed = False
        self._expires_at = 0.0
        self._next_fetch_at = 0.0
        self._fetch: asyncio.Task[None] | None = None

    async def find(self, kid: str | None) -> Any:
        """Return the key with this id, or None if the issuer publishes none. Raise Unavailable if no keys were ever fetched."""
        if self._keys is None:
            await self._refresh()
        elif monotonic() >= self._expires_at:
            fetch = self._current_fetch()
            # after a failure, tokens with known keys do not wait for the issuer
            if fetch is not None and not self._last_fetch_failed:
                await asyncio.shield(fetch)
        if kid is not None and self._keys is not None and self._keys.get(kid) is None:
            await self._refresh()
        if self._keys is None:
            raise Unavailable("The keys that tokens are verified with (HEADWATER_JWT_JWKS_URL) cannot be fetched. Retry later.")
        return self._keys.get(kid)

    async def close(self) -> None:
        """Cancel a running fetch."""
        if self._fetch is not None:
            self._fetch.cancel()
            await asyncio.gather(self._fetch, return_exceptions=True)
        await self._transport.aclose()

    async def _refresh(self) -> None:
        fetch = self._current_fetch()
        if fetch is not None:
            # a caller that is cancelled does not cancel the fetch for the others
            await asyncio.shield(fetch)

    def _current_fetch(self) -> asyncio.Task[None] | None:
        """Return the running fetch, or start one if FETCH_INTERVAL is over."""
        if self._fetch is None and monotonic() >= self._next_fetch_at:
            self._next_fetch_at = monotonic() + FETCH_INTERVAL
            self._fetch = asyncio.create_task(self._fetch_keys())
            self._fetch.add_done_callback(self._clear_fetch)
        return self._fetch

    def _clear_fetch(self, _: asyncio.Task[None]) -> None:
        self._fetch = None

    async def _fetch_keys(self) -> None:
        try:
            async with asyncio.timeout(FETCH_TIMEOUT):
                content = await self._get()
            self._keys = read_key_set(content, self._algorithm)
        except (TimeoutError, httpx.TimeoutException):
            self._record_failure(f"no answer within {FETCH_TIMEOUT:g} s")
        except httpx.HTTPError as error:
            # messages of other errors may repeat the content of the answer
            self._record_failure(f"{error}" if isinstance(error, httpx.ConnectError) else type(error).__name__)
        except InvalidKeys as error:
            self._record_failure(str(error))
        else:
            self._last_fetch_failed = False
            self._expires_at = monotonic() + self._source.ttl

    def _record_failure(self, reason: str) -> None:
        self._last_fetch_failed = True
        log.warning("JWKS fetch failed", reason=reason, cached=self._keys is not None)

    async def _get(self) -> bytes:
        headers = {
            "User-Agent": "headwater",
            "Accept": "application/jwk-set+json, application/json",
            # a compressed answer could be of any size once it is unpacked
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        response = await self._transport.handle_async_request(httpx.Request("GET", self._source.url, headers=headers))
        try:
            if 300 <= response.status_code < 400:
                raise InvalidKeys("the URL redirects, and redirects are not followed")
            if response.status_code != 200:
                raise InvalidKeys(f"the URL answers with status {response.status_code}")
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise InvalidKeys("the URL answers with a Content-Encoding that was not requested")
            content = bytearray()
            async for chunk in response.aiter_raw():
                content += chunk
                if len(content) > MAX_BYTES:
                    raise InvalidKeys(f"the URL answers with more than {MAX_BYTES} bytes")
            return bytes(content)
        finally:
            await response.aclose()


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (is_address(host) and ip_address(host).is_loopback)

"""The keys that tokens are checked with: out of a file, or fetched from the address at which an issuer publishes them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from time import monotonic
from typing import Any, Literal

import httpx
import jwt
import orjson
import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from db.errors import Unavailable
from graph_api.records.addresses import is_address
from graph_api.records.fetching import FreshConnections

Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512"
]
# Bytes of a file or an answer with keys.
MAX_BYTES = 65_536
# Seconds that an issuer has to answer, and that lie between two times that it is asked.
PATIENCE = 5.0
PAUSE = 10.0

_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
_SECRETS = {"HS256": 32, "HS384": 48, "HS512": 64}

log = structlog.get_logger("headwater.tokens")


class NoKeys(ValueError):
    """What should hold keys does not hold any that the algorithm can be checked with."""


class KeySet:
    """Keys for one algorithm, by their names; one that stands alone needs none."""

    def __init__(self, keys: Sequence[tuple[str | None, Any]]) -> None:
        self._keys = dict(keys)
        if len(self._keys) < len(keys):
            raise NoKeys("two of its keys have the same kid, or none")

    def get(self, kid: str | None) -> Any:
        """The key of that name. Where there is one alone it need not be named, and goes by any name if it has none."""
        if len(self._keys) == 1 and (kid is None or None in self._keys):
            return next(iter(self._keys.values()))
        return None if kid is None else self._keys.get(kid)

    async def find(self, kid: str | None) -> Any:
        return self.get(kid)

    async def close(self) -> None:
        """There is nothing to close."""


@dataclass(frozen=True, slots=True)
class Published:
    """Where an issuer publishes its keys, and for how many seconds they are taken to be the same."""

    url: str
    kept: float


def published_at(url: str, algorithm: Algorithm, kept: float) -> Published:
    """An address, if it is one that nobody in between can answer for."""
    if algorithm in _SECRETS:
        raise NoKeys(f"{algorithm} is checked with a secret, which nobody publishes; HEADWATER_JWT_KEYS names a file of it")
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        parts = httpx.URL()
    safe = parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.host))
    if not safe or not parts.host or parts.userinfo or parts.fragment:
        raise NoKeys("this is https, a host, and perhaps a port, a path and a query; http only for a host that is this machine")
    return Published(url, kept)


class FetchedKeys:
    """The keys that an issuer publishes. They are fetched when they are first needed, when they are old, and when a token names
    one that is not known; never twice within a pause, whatever tokens come."""

    def __init__(self, published: Published, algorithm: Algorithm) -> None:
        self._published = published
        self._algorithm = algorithm
        self._transport = FreshConnections()
        self._known: KeySet | None = None
        self._failing = False
        self._old_from = 0.0
        self._asked_again_from = 0.0
        self._fetch: asyncio.Task[None] | None = None

    async def find(self, kid: str | None) -> Any:
        """The key of that name, or None if the issuer has published none of it."""
        if self._known is None:
            await self._renew()
        elif monotonic() >= self._old_from:
            renewal = self._renewal()
            # an issuer that failed last time keeps nobody waiting whose key is known
            if renewal is not None and not self._failing:
                await asyncio.shield(renewal)
        if kid is not None and self._known is not None and self._known.get(kid) is None:
            await self._renew()
        if self._known is None:
            raise Unavailable("The keys that tokens are checked with cannot be fetched. Try again in a while.")
        return self._known.get(kid)

    async def close(self) -> None:
        if self._fetch is not None:
            self._fetch.cancel()
            await asyncio.gather(self._fetch, return_exceptions=True)
        await self._transport.aclose()

    async def _renew(self) -> None:
        renewal = self._renewal()
        if renewal is not None:
            # whoever waits may leave; others wait for the same
            await asyncio.shield(renewal)

    def _renewal(self) -> asyncio.Task[None] | None:
        """The fetch that is under way, or a new one if the last is long enough ago."""
        if self._fetch is None and monotonic() >= self._asked_again_from:
            self._asked_again_from = monotonic() + PAUSE
            self._fetch = asyncio.create_task(self._fetch_all())
            self._fetch.add_done_callback(self._over)
        return self._fetch

    def _over(self, _: asyncio.Task[None]) -> None:
        self._fetch = None

    async def _fetch_all(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                content = await self._get()
            self._known = read_key_set(content, self._algorithm)
        except (TimeoutError, httpx.TimeoutException):
            self._failed(f"no answer within {PATIENCE:g} s")
        except httpx.HTTPError as error:
            # others repeat what was answered
            self._failed(f"{error}" if isinstance(error, httpx.ConnectError) else type(error).__name__)
        except NoKeys as error:
            self._failed(str(error))
        else:
            self._failing = False
            self._old_from = monotonic() + self._published.kept

    def _failed(self, reason: str) -> None:
        self._failing = True
        log.warning("keys not fetched", reason=reason, known=self._known is not None)

    async def _get(self) -> bytes:
        headers = {
            "User-Agent": "headwater",
            "Accept": "application/jwk-set+json, application/json",
            # what is small on the wire may be anything once it is unpacked
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        response = await self._transport.handle_async_request(httpx.Request("GET", self._published.url, headers=headers))
        try:
            if 300 <= response.status_code < 400:
                raise NoKeys("the address redirects, which is not followed")
            if response.status_code != 200:
                raise NoKeys(f"the address answers {response.status_code}")
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise NoKeys("the address answers in an encoding that it was not asked for")
            content = bytearray()
            async for piece in response.aiter_raw():
                content += piece
                if len(content) > MAX_BYTES:
                    raise NoKeys(f"the address answers with more than {MAX_BYTES} bytes")
            return bytes(content)
        finally:
            await response.aclose()


def keys_in(file: Path, algorithm: Algorithm) -> KeySet:
    """The keys in a file: a public key as PEM, a secret, or a JWKS."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise NoKeys(f"{file} cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise NoKeys(f"it has more than {MAX_BYTES} bytes")
    if algorithm in _SECRETS:
        if _object(content) is not None:
            return read_key_set(content, algorithm)
        # whoever writes a secret with an editor ends its line
        return KeySet([(None, _checked(content.rstrip(b"\r\n") if content.isascii() else content, algorithm))])
    if b"-----BEGIN " not in content:
        return read_key_set(content, algorithm)
    if b"PRIVATE KEY-----" in content:
        raise NoKeys("it holds a private key, which only the issuer of tokens should have; the public one is needed")
    if content.count(b"-----BEGIN ") > 1:
        raise NoKeys("it holds several things; one public key is needed, or a JWKS")
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        raise NoKeys("it holds no public key that can be read") from None
    return KeySet([(None, _checked(key, algorithm))])


def read_key_set(content: bytes, algorithm: Algorithm) -> KeySet:
    """The keys of a JWKS that the algorithm can be checked with; those for other ends are left out."""
    document = _object(content)
    if document is None or not isinstance(document.get("keys"), list):
        raise NoKeys('it is neither a public key as PEM nor a JWKS, which reads like {"keys": [{"kty": "RSA", …}]}')
    keys = []
    reasons = []
    for described in document["keys"]:
        try:
            keys.append(_described_key(described, algorithm))
        except NoKeys as error:
            reasons.append(str(error))
    if not keys:
        raise NoKeys(f"no key of its JWKS fits: {reasons[0]}" if reasons else "its JWKS is empty")
    return KeySet(keys)


def _described_key(described: Any, algorithm: Algorithm) -> tuple[str | None, Any]:
    if not isinstance(described, dict):
        raise NoKeys("it is no object")
    kid = described.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise NoKeys("its kid is no text")
    if described.get("alg", algorithm) != algorithm:
        raise NoKeys(f"it is for another algorithm than {algorithm}")
    operations = described.get("key_ops", ["verify"])
    if described.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise NoKeys("it is not for checking signatures")
    if "d" in described:
        raise NoKeys("it is a private key, which only the issuer of tokens should have")
    try:
        key = jwt.PyJWK(described, algorithm).key
    except (jwt.PyJWTError, KeyError, UnsupportedAlgorithm):
        raise NoKeys(_needed(algorithm)) from None
    return kid, _checked(key, algorithm)


def _checked(key: Any, algorithm: Algorithm) -> Any:
    """A key, if it is of the kind and of the size that its algorithm needs."""
    method = jwt.get_algorithm_by_name(algorithm)
    try:
        fits = method.check_key_length(method.prepare_key(key)) is None
    except (jwt.InvalidKeyError, TypeError):
        fits = False
    if not fits:
        raise NoKeys(_needed(algorithm))
    return key


def _needed(algorithm: Algorithm) -> str:
    if algorithm in _SECRETS:
        return f"{algorithm} needs a secret of at least {_SECRETS[algorithm]} bytes, which is no key of another kind"
    if algorithm in _CURVES:
        return f"{algorithm} needs a public key on the curve {_CURVES[algorithm]}"
    if algorithm == "EdDSA":
        return "EdDSA needs a public key on the curve Ed25519 or Ed448"
    return f"{algorithm} needs an RSA public key of at least 2048 bits"


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (is_address(host) and ip_address(host).is_loopback)


def _object(content: bytes) -> dict[str, Any] | None:
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None

"""Keys that tokens are verified with: a PEM public key, a shared secret, or a JWKS."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import jwt
import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key

Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512"
]
# Bytes of a key file, or of the answer of a JWKS endpoint.
MAX_BYTES = 65_536

_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
_SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}


class InvalidKeys(ValueError):
    """A key file, a JWKS, or the location of a JWKS cannot be used with the configured algorithm."""


class KeySet:
    """Keys for one algorithm by their ids (`kid`). The id may be missing if there is one key."""

    def __init__(self, keys: Sequence[tuple[str | None, Any]]) -> None:
        self._keys = dict(keys)
        if len(self._keys) < len(keys):
            raise InvalidKeys("each key of a JWKS needs a kid that no other key has")

    def get(self, kid: str | None) -> Any:
        """Return the key with this id, or None. A single key is returned for no id, and for any id if it has none itself."""
        if len(self._keys) == 1 and (kid is None or None in self._keys):
            return next(iter(self._keys.values()))
        return None if kid is None else self._keys.get(kid)

    async def find(self, kid: str | None) -> Any:
        """Return the key with this id, or None: the interface of RemoteKeySet."""
        return self.get(kid)

    async def close(self) -> None:
        """Do nothing: the interface of RemoteKeySet."""


def uses_shared_secret(algorithm: Algorithm) -> bool:
    """True if tokens are signed and verified with the same secret."""
    return algorithm in _SECRET_BYTES


def read_key_file(file: Path, algorithm: Algorithm) -> KeySet:
    """Read a public key as PEM, a shared secret, or a JWKS."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidKeys(f"{file} cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise InvalidKeys(f"the file is larger than {MAX_BYTES} bytes")
    if uses_shared_secret(algorithm):
        if _parse_object(content) is not None:
            return read_key_set(content, algorithm)
        # an editor ends the line of a secret
        return KeySet([(None, _check_key(content.rstrip(b"\r\n") if content.isascii() else content, algorithm))])
    if b"-----BEGIN " not in content:
        return read_key_set(content, algorithm)
    if b"PRIVATE KEY-----" in content:
        raise InvalidKeys("the file holds a private key, which only the issuer of tokens should have; use the public key")
    if content.count(b"-----BEGIN ") > 1:
        raise InvalidKeys("the file holds several PEM blocks; use one public key, or a JWKS")
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidKeys("the file does not hold a valid PEM public key") from None
    return KeySet([(None, _check_key(key, algorithm))])


def read_key_set(content: bytes, algorithm: Algorithm) -> KeySet:
    """Read the keys of a JWKS that verify the algorithm. Keys for other purposes are left out."""
    document = _parse_object(content)
    if document is None or not isinstance(document.get("keys"), list):
        raise InvalidKeys('expected a public key as PEM, or a JWKS such as {"keys": [{"kty": "RSA", …}]}')
    keys = []
    reasons = []
    for member in document["keys"]:
        try:
            keys.append(_read_jwk(member, algorithm))
        except InvalidKeys as error:
            reasons.append(str(error))
    if not keys:
        raise InvalidKeys(f"no key of the JWKS can be used: {reasons[0]}" if reasons else "the JWKS is empty")
    return KeySet(keys)


def _read_jwk(member: Any, algorithm: Algorithm) -> tuple[str | None, Any]:
    if not isinstance(member, dict):
        raise InvalidKeys("a key is not a JSON object")
    kid = member.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise InvalidKeys("kid is not a string")
    if member.get("alg", algorithm) != algorithm:
        raise InvalidKeys(f"alg is not {algorithm}")
    operations = member.get("key_ops", ["verify"])
    if member.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise InvalidKeys("use or key_ops does not allow the key to verify signatures")
    if "d" in member:
        raise InvalidKeys("it is a private key, which only the issuer of tokens should have")
    try:
        key = jwt.PyJWK(member, algorithm).key
    except (jwt.PyJWTError, KeyError, UnsupportedAlgorithm):
        raise InvalidKeys(_requirement(algorithm)) from None
    return kid, _check_key(key, algorithm)


def _check_key(key: Any, algorithm: Algorithm) -> Any:
    """Return the key, or raise InvalidKeys if the algorithm needs another type or size."""
    method = jwt.get_algorithm_by_name(algorithm)
    try:
        is_suitable = method.check_key_length(method.prepare_key(key)) is None
    except (jwt.InvalidKeyError, TypeError):
        is_suitable = False
    if not is_suitable:
        raise InvalidKeys(_requirement(algorithm))
    return key


def _requirement(algorithm: Algorithm) -> str:
    if algorithm in _SECRET_BYTES:
        return f"{algorithm} needs a shared secret of at least {_SECRET_BYTES[algorithm]} bytes, not a public or private key"
    if algorithm in _CURVES:
        return f"{algorithm} needs a public key on the curve {_CURVES[algorithm]}"
    if algorithm == "EdDSA":
        return "EdDSA needs a public key on the curve Ed25519 or Ed448"
    return f"{algorithm} needs an RSA public key of at least 2048 bits"


def _parse_object(content: bytes) -> dict[str, Any] | None:
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None

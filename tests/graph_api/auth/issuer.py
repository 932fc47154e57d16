"""Token issuer of the tests: private keys, their public forms, and signed tokens."""

import json
import time
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from graph_api.auth.key_set import Algorithm, KeySet, read_key_set
from graph_api.auth.remote_key_set import JwksSource
from graph_api.auth.tokens import TrustedIssuer

ISSUER = "https://idp.shop.example"
AUDIENCE = "headwater"
CURVES: dict[str, ec.EllipticCurve] = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


def signing_key(algorithm: str, name: str = "a") -> Any:
    """Return the private key, or the shared secret, with a name."""
    # all RSA algorithms share a key, for generating one is slow
    return _generated("RSA" if algorithm[:2] in ("RS", "PS") else algorithm, name)


@cache
def _generated(kind: str, name: str) -> Any:
    if kind.startswith("HS"):
        return (name * 64).encode()
    if kind == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, 2048) if kind == "RSA" else ec.generate_private_key(CURVES[kind])


def public_pem(algorithm: str, name: str = "a") -> bytes:
    key = signing_key(algorithm, name)
    return bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def private_pem(algorithm: str, name: str = "a") -> bytes:
    return bytes(signing_key(algorithm, name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def jwk(algorithm: str, name: str = "a", **changes: Any) -> dict[str, Any]:
    """Return a key as a member of a JWKS. A change to None removes a member."""
    key = signing_key(algorithm, name)
    public_key = key if isinstance(key, bytes) else key.public_key()
    members = jwt.get_algorithm_by_name(algorithm).to_jwk(public_key, as_dict=True)
    members = {**members, "kid": name, "use": "sig", "alg": algorithm, **changes}
    return {member: value for member, value in members.items() if value is not None}


def jwks(algorithm: str, *names: str) -> bytes:
    return json.dumps({"keys": [jwk(algorithm, name) for name in names]}).encode()


def token(algorithm: str = "ES256", name: str = "a", *, kid: str | None = "a", **changes: Any) -> str:
    """Return a valid token with changed claims. A change to None removes a claim."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ann@shop.example",
        "iat": now,
        "nbf": now,
        "exp": now + 300,
        "tenant": "shop",
        "scope": "read write:sales",
        **changes,
    }
    present = {claim: value for claim, value in claims.items() if value is not None}
    return jwt.encode(present, signing_key(algorithm, name), algorithm, headers={} if kid is None else {"kid": kid})


def trusted_issuer(algorithm: Algorithm = "ES256", keys: KeySet | JwksSource | None = None, **options: Any) -> TrustedIssuer:
    """Return the configuration that trusts this issuer. The default is its single key for the algorithm."""
    return TrustedIssuer(algorithm, ISSUER, AUDIENCE, keys or read_key_set(jwks(algorithm, "a"), algorithm), **options)

"""Who issues tokens in tests: signs whatever a test wants to have signed, and publishes the keys."""

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
    """The private key of that name, or the secret."""
    # all algorithms of RSA take the same, which takes a while to generate
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
    """A key as a set has it, by its name; a change to None leaves a member out."""
    key = signing_key(algorithm, name)
    published = key if isinstance(key, bytes) else key.public_key()
    written = jwt.get_algorithm_by_name(algorithm).to_jwk(published, as_dict=True)
    members = {**written, "kid": name, "use": "sig", "alg": algorithm, **changes}
    return {member: value for member, value in members.items() if value is not None}


def jwks(algorithm: str, *names: str) -> bytes:
    return json.dumps({"keys": [jwk(algorithm, name) for name in names]}).encode()


def token(algorithm: str = "ES256", name: str = "a", *, kid: str | None = "a", **changes: Any) -> str:
    """A token that is believed, but for the changes to its claims; one to None leaves a claim out."""
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
    said = {claim: value for claim, value in claims.items() if value is not None}
    return jwt.encode(said, signing_key(algorithm, name), algorithm, headers={} if kid is None else {"kid": kid})


def trust(algorithm: Algorithm = "ES256", keys: KeySet | JwksSource | None = None, **options: Any) -> TrustedIssuer:
    """Trust in this issuer, with its one key of that algorithm if no keys are given."""
    return TrustedIssuer(algorithm, ISSUER, AUDIENCE, keys or read_key_set(jwks(algorithm, "a"), algorithm), **options)

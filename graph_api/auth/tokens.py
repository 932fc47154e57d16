"""JWTs: verification of the signature and of the claims."""

import re
from base64 import urlsafe_b64decode
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt
import orjson
from jwt.exceptions import InvalidSubjectError

from db import fields
from db.errors import BadInput, Unauthenticated
from graph_api.auth.key_set import Algorithm, KeySet
from graph_api.auth.remote_key_set import JwksSource, RemoteKeySet

MAX_LENGTH = 8_192

_SHAPE = re.compile(r"([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_REASONS: dict[type[Exception], str] = {
    jwt.InvalidSignatureError: "the signature is invalid",
    jwt.ExpiredSignatureError: "it has expired (exp)",
    jwt.ImmatureSignatureError: "it is not valid yet (nbf or iat)",
    jwt.InvalidIssuerError: "it is from another issuer (iss)",
    jwt.InvalidAudienceError: "it is for another audience (aud)",
    InvalidSubjectError: "the subject (sub) is not a string",
}
_OPTIONS: Any = {"require": ["exp", "iss", "aud", "sub"], "enforce_minimum_key_length": True}


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """Issuer whose tokens are accepted, the keys they are verified with, and the claims that hold tenant and scopes."""

    algorithm: Algorithm
    issuer: str
    audience: str
    keys: KeySet | JwksSource
    leeway: float = 10
    tenant_claim: str = "tenant"
    scopes_claim: str = "scope"


@dataclass(frozen=True, slots=True)
class Claims:
    """Claims of a verified token. Scopes are as the issuer wrote them."""

    tenant: str
    actor: str
    scopes: tuple[str, ...]
    expires_at: datetime


class TokenVerifier:
    """Verifier of the tokens of one issuer; one per process."""

    def __init__(self, issuer: TrustedIssuer) -> None:
        self._issuer = issuer
        self._keys = issuer.keys if isinstance(issuer.keys, KeySet) else RemoteKeySet(issuer.keys, issuer.algorithm)

    async def verify(self, token: str) -> Claims:
        """Return the claims of a token. Raise Unauthenticated if it is invalid, Unavailable if the keys cannot be fetched."""
        issuer = self._issuer
        header = _read_header(token)
        # check the header first: a token that fails here causes no fetch of keys
        if header.get("alg") != issuer.algorithm:
            raise _invalid(f"it is not signed with {issuer.algorithm} (alg)")
        kid = header.get("kid")
        if kid is not None and not isinstance(kid, str):
            raise _invalid("the key id (kid) is not a string")
        key = await self._keys.find(kid)
        if key is None:
            raise _invalid("the key id (kid) is missing" if kid is None else "the key id (kid) is unknown")
        try:
            claims = jwt.decode(
                token,
                key,
                [issuer.algorithm],
                issuer=issuer.issuer,
                audience=issuer.audience,
                leeway=issuer.leeway,
                options=_OPTIONS,
            )
        except jwt.MissingRequiredClaimError as error:
            raise _invalid(f"the claim {error.claim} is missing") from None
        except jwt.InvalidTokenError as error:
            raise _invalid(_REASONS.get(type(error), "it is malformed")) from None
        return Claims(
            _line(claims, issuer.tenant_claim),
            _line(claims, "sub"),
            _scopes(_claim(claims, issuer.scopes_claim)),
            _expiry(claims["exp"]),
        )

    async def close(self) -> None:
        await self._keys.close()


def _invalid(reason: str) -> Unauthenticated:
    return Unauthenticated(f"The token is invalid: {reason}.")


def _read_header(token: str) -> dict[str, Any]:
    """Decode the header of a token, which is not verified yet."""
    if len(token) > MAX_LENGTH:
        raise _invalid(f"it has more than {MAX_LENGTH} characters")
    shape = _SHAPE.fullmatch(token)
    if shape is None:
        raise _invalid("it is not a JWT")
    try:
        header = orjson.loads(urlsafe_b64decode(shape[1] + "=" * (-len(shape[1]) % 4)))
    except ValueError:
        raise _invalid("it is not a JWT") from None
    if not isinstance(header, dict):
        raise _invalid("it is not a JWT")
    return header


def _claim(claims: dict[str, Any], name: str) -> Any:
    """Return a claim by its name, which may contain dots, or else by the path that its name spells."""
    value: Any = claims
    for step in [name] if name in claims else name.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _line(claims: dict[str, Any], name: str) -> str:
    """Return a claim that must be one line of text."""
    claim = _claim(claims, name)
    if claim is None:
        raise _invalid(f"the claim {name} is missing")
    try:
        return fields.line(name, claim)
    except BadInput:
        raise _invalid(f"the claim {name} is not one line of 1 to {fields.NAME_LENGTH} characters") from None


def _scopes(claim: Any) -> tuple[str, ...]:
    """Split scopes that are one string, as in OAuth, or check a list of them."""
    scopes = claim.split() if isinstance(claim, str) else [] if claim is None else claim
    if not isinstance(scopes, list) or not all(isinstance(it, str) for it in scopes):
        raise _invalid("the scopes are neither a string nor a list of strings")
    return tuple(dict.fromkeys(scopes))


def _expiry(exp: Any) -> datetime:
    try:
        return datetime.fromtimestamp(int(exp), UTC)
    except (ValueError, OverflowError, OSError):
        raise _invalid("the expiry (exp) is not a valid instant") from None

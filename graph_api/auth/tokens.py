"""JWTs: what a trusted issuer says of who asks, or why a token is not believed."""

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
from graph_api.auth.jwks import Algorithm, FetchedKeys, KeySet, Published

MAX_LENGTH = 8_192

_SHAPE = re.compile(r"([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_RULES: dict[type[Exception], str] = {
    jwt.InvalidSignatureError: "its signature does not fit",
    jwt.ExpiredSignatureError: "it has expired (exp)",
    jwt.ImmatureSignatureError: "it is not valid yet (nbf or iat)",
    jwt.InvalidIssuerError: "it is of another issuer (iss)",
    jwt.InvalidAudienceError: "it is for another audience (aud)",
    InvalidSubjectError: "its subject (sub) is no text",
}
_OPTIONS: Any = {"require": ["exp", "iss", "aud", "sub"], "enforce_minimum_key_length": True}


@dataclass(frozen=True, slots=True)
class Trust:
    """Which tokens are believed, and where they say whom they speak of."""

    algorithm: Algorithm
    issuer: str
    audience: str
    keys: KeySet | Published
    leeway: float = 10
    tenant_claim: str = "tenant"
    scopes_claim: str = "scope"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token that is believed says. Scopes are as the issuer wrote them."""

    tenant: str
    actor: str
    scopes: tuple[str, ...]
    expires_at: datetime


class Tokens:
    """One a process: reads tokens of the one issuer that is trusted."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._keys = trust.keys if isinstance(trust.keys, KeySet) else FetchedKeys(trust.keys, trust.algorithm)

    async def read(self, token: str) -> Claims:
        """What the token says; Unauthenticated if it is not to be believed, Unavailable if there is nothing to check it with."""
        trust = self._trust
        header = _header(token)
        # what is refused at a glance costs the issuer nothing
        if header.get("alg") != trust.algorithm:
            raise _refused(f"it is not signed with {trust.algorithm} (alg)")
        kid = header.get("kid")
        if kid is not None and not isinstance(kid, str):
            raise _refused("the name of its key (kid) is no text")
        key = await self._keys.find(kid)
        if key is None:
            unnamed = "it names no key (kid), and there are several"
            raise _refused(unnamed if kid is None else "the key that it names (kid) is not known")
        try:
            said = jwt.decode(
                token,
                key,
                [trust.algorithm],
                issuer=trust.issuer,
                audience=trust.audience,
                leeway=trust.leeway,
                options=_OPTIONS,
            )
        except jwt.MissingRequiredClaimError as error:
            raise _refused(f"it has no {error.claim}") from None
        except jwt.InvalidTokenError as error:
            raise _refused(_RULES.get(type(error), "it is malformed")) from None
        return Claims(
            _line(said, trust.tenant_claim),
            _line(said, "sub"),
            _scopes(_claim(said, trust.scopes_claim)),
            _instant(said["exp"]),
        )

    async def close(self) -> None:
        await self._keys.close()


def _refused(rule: str) -> Unauthenticated:
    return Unauthenticated(f"The token is refused: {rule}.")


def _header(token: str) -> dict[str, Any]:
    """What a token says of itself, before anything of it is believed."""
    if len(token) > MAX_LENGTH:
        raise _refused(f"it has more than {MAX_LENGTH} characters")
    shape = _SHAPE.fullmatch(token)
    if shape is None:
        raise _refused("it is no JWT")
    try:
        header = orjson.loads(urlsafe_b64decode(shape[1] + "=" * (-len(shape[1]) % 4)))
    except ValueError:
        raise _refused("it is no JWT") from None
    if not isinstance(header, dict):
        raise _refused("it is no JWT")
    return header


def _claim(said: dict[str, Any], name: str) -> Any:
    """A claim by its name, which may have dots in it, or else by the names that lead to it."""
    found: Any = said
    for step in [name] if name in said else name.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return found


def _line(said: dict[str, Any], name: str) -> str:
    """A claim that names somebody."""
    claim = _claim(said, name)
    if claim is None:
        raise _refused(f"it has no {name}")
    try:
        return fields.line(name, claim)
    except BadInput:
        raise _refused(f"its {name} is not one line of 1 to {fields.NAME_LENGTH} characters") from None


def _scopes(said: Any) -> tuple[str, ...]:
    """Words in a text, as OAuth has it, or a list of them."""
    scopes = said.split() if isinstance(said, str) else [] if said is None else said
    if not isinstance(scopes, list) or not all(isinstance(it, str) for it in scopes):
        raise _refused("its scopes are neither a text nor a list of texts")
    return tuple(dict.fromkeys(scopes))


def _instant(exp: Any) -> datetime:
    try:
        return datetime.fromtimestamp(int(exp), UTC)
    except (ValueError, OverflowError, OSError):
        raise _refused("it expires at no instant (exp)") from None

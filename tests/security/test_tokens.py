"""Tokens over HTTP: which are accepted, what their scopes allow, and how invalid ones are rejected."""

import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import jwt
import orjson
import pytest

from tests.builders import REGISTER, product_fields
from tests.graph_api.auth.issuer import public_pem, signing_key, token
from tests.security.service_harness import Client, Owner, rejection

pytestmark = pytest.mark.api

VIEWER = "{ viewer { tenant actor scopes } }"


def bearer(value: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {value}"}


def unsigned(signature: str = "", **changes: Any) -> str:
    """Build a token with the algorithm none."""
    claims = token(**changes).split(".")[1]
    return ".".join([urlsafe_b64encode(orjson.dumps({"alg": "none", "typ": "JWT"})).decode().rstrip("="), claims, signature])


def signed_with_the_public_key(**changes: Any) -> str:
    """Build a token that a verifier accepts if it takes the algorithm from the token. Libraries refuse to build it."""
    claims = token(**changes).split(".")[1]
    header = urlsafe_b64encode(orjson.dumps({"alg": "HS256", "kid": "a"})).decode().rstrip("=")
    hmac_algorithm = jwt.get_algorithm_by_name("HS256")
    signature = hmac_algorithm.sign(f"{header}.{claims}".encode(), public_pem("ES256"))
    return f"{header}.{claims}.{urlsafe_b64encode(signature).decode().rstrip('=')}"


def tampered(**changes: Any) -> str:
    """Combine the signature of one token with the claims of another."""
    header, _, signature = token(**changes).split(".")
    return f"{header}.{token(scope='admin', **changes).split('.')[1]}.{signature}"


NOW = int(time.time())
INVALID: dict[str, tuple[Callable[..., str], str]] = {
    "alg none": (unsigned, "it is not a JWT"),
    "alg none with a signature": (lambda **it: unsigned("c2lnbmVk", **it), "it is not signed with ES256"),
    "HS256 with the public key": (signed_with_the_public_key, "it is not signed with ES256"),
    "another audience": (lambda **it: token(aud="someone", **it), "it is for another audience"),
    "another issuer": (lambda **it: token(iss="https://idp.evil.example", **it), "it is from another issuer"),
    "an unknown kid": (lambda **it: token(kid="z", **it), "the key id (kid) is unknown"),
    "another key with the same kid": (lambda **it: token(name="b", **it), "the signature is invalid"),
    "expired": (lambda **it: token(exp=NOW - 3600, **it), "it has expired"),
    "not valid yet": (lambda **it: token(nbf=NOW + 3600, **it), "it is not valid yet"),
    "no expiry": (lambda **it: token(exp=None, **it), "the claim exp is missing"),
    "no subject": (lambda **it: token(sub=None, **it), "the claim sub is missing"),
    "changed claims": (tampered, "the signature is invalid"),
    "no tenant": (lambda **it: token(**{**it, "tenant": None}), "the claim tenant is missing"),
    "two segments": (lambda **it: "a.b", "it is not a JWT"),
    "huge": (lambda **it: token(more="x" * 8_192, **it), "it has more than 8192 characters"),
}


@pytest.mark.parametrize("kind", INVALID)
async def test_an_invalid_token_is_rejected(client: Client, owner: Owner, kind: str) -> None:
    build, reason = INVALID[kind]
    name = await owner.tenant()
    # the second query needs no credentials
    for query in (VIEWER, "{ __typename }"):
        answer = await client(query, headers=bearer(build(tenant=name)))
        assert rejection(answer) == (401, "UNAUTHENTICATED")
        assert reason in answer.error["message"]


async def test_a_token_with_an_unknown_tenant_is_forbidden(client: Client) -> None:
    for name in ("nobody", "Default", "x" * 200):
        assert rejection(await client(VIEWER, headers=bearer(token(tenant=name)))) == (403, "FORBIDDEN"), name


async def test_the_tenant_of_a_token_cannot_be_overridden_by_a_header(client: Client, owner: Owner) -> None:
    name = await owner.tenant()
    answer = await client(VIEWER, headers=bearer(token(tenant=name, sub="bob")))
    assert answer.data["viewer"] == {"tenant": name, "actor": "bob", "scopes": ["read", "write:sales"]}
    for requested in ("default", "nobody"):
        answer = await client(VIEWER, headers={**bearer(token(tenant=name)), "X-Headwater-Tenant": requested})
        assert rejection(answer) == (403, "FORBIDDEN")


@pytest.mark.parametrize(
    ("scope", "domain", "status"),
    [
        ("read", "sales", 403),
        ("read write", "sales", 200),
        (["read", "write"], "sales", 200),
        ("read write:sales", "sales", 200),
        ("READ WRITE", "sales", 403),
        ("operator superuser", "sales", 403),
        ("", "sales", 403),
        (None, "sales", 403),
    ],
)
async def test_the_scopes_of_a_token_are_enforced(client: Client, owner: Owner, scope: Any, domain: str, status: int) -> None:
    name = await owner.tenant()
    headers = bearer(token(tenant=name, scope=scope, sub="bob"))
    answer = await client(REGISTER, headers=headers, input=product_fields(domain=domain))
    assert answer.status == status
    if status == 403:
        assert rejection(answer) == (403, "FORBIDDEN")
        assert [it.outcome for it in await owner.audit_rows(name)] == ["KEPT"], "only the creation of the tenant"
    else:
        (row, _) = await owner.audit_rows(name)
        assert (row.actor, row.credential, row.operator, row.outcome) == ("bob", "token", False, "KEPT")


async def test_a_token_cannot_supply_its_verification_key(client: Client, owner: Owner) -> None:
    name = await owner.tenant()
    claims = jwt.decode(token(tenant=name), options={"verify_signature": False})
    headers = {"kid": "a", "jku": "https://idp.evil.example/keys", "jwk": {"kty": "EC"}}
    forged = jwt.encode(claims, signing_key("ES256", "evil"), "ES256", headers=headers)
    assert rejection(await client(VIEWER, headers=bearer(forged))) == (401, "UNAUTHENTICATED")

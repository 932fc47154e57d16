"""Tokens at the door: which are believed, what they allow, and what each other one is answered."""

import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import jwt
import orjson
import pytest

from tests.builders import REGISTER, product_fields
from tests.graph_api.auth.issuer import public_pem, signing_key, token
from tests.security.service_harness import Client, Owner, refused

pytestmark = pytest.mark.api

WHO = "{ viewer { tenant actor scopes } }"


def bearing(given: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {given}"}


def unsigned(signature: str = "", **changes: Any) -> str:
    """What says of itself that nobody signed it."""
    claims = token(**changes).split(".")[1]
    return ".".join([urlsafe_b64encode(orjson.dumps({"alg": "none", "typ": "JWT"})).decode().rstrip("="), claims, signature])


def signed_with_the_public_key(**changes: Any) -> str:
    """What a verifier takes for sound that lets the token say how it is signed. Libraries refuse to make such a one."""
    claims = token(**changes).split(".")[1]
    head = urlsafe_b64encode(orjson.dumps({"alg": "HS256", "kid": "a"})).decode().rstrip("=")
    hash_of = jwt.get_algorithm_by_name("HS256")
    signature = hash_of.sign(f"{head}.{claims}".encode(), public_pem("ES256"))
    return f"{head}.{claims}.{urlsafe_b64encode(signature).decode().rstrip('=')}"


def tampered(**changes: Any) -> str:
    """The signature of one beside the claims of another."""
    head, _, signature = token(**changes).split(".")
    return f"{head}.{token(scope='admin', **changes).split('.')[1]}.{signature}"


NOW = int(time.time())
BAD: dict[str, tuple[Callable[..., str], str]] = {
    "alg none": (unsigned, "it is no JWT"),
    "alg none and yet signed": (lambda **it: unsigned("c2lnbmVk", **it), "it is not signed with ES256"),
    "HS256 with the public key": (signed_with_the_public_key, "it is not signed with ES256"),
    "another audience": (lambda **it: token(aud="someone", **it), "it is for another audience"),
    "another issuer": (lambda **it: token(iss="https://idp.evil.example", **it), "it is of another issuer"),
    "an unknown kid": (lambda **it: token(kid="z", **it), "the key that it names (kid) is not known"),
    "another key of the same name": (lambda **it: token(name="b", **it), "its signature does not fit"),
    "expired": (lambda **it: token(exp=NOW - 3600, **it), "it has expired"),
    "not valid yet": (lambda **it: token(nbf=NOW + 3600, **it), "it is not valid yet"),
    "no end": (lambda **it: token(exp=None, **it), "it has no exp"),
    "no subject": (lambda **it: token(sub=None, **it), "it has no sub"),
    "changed claims": (tampered, "its signature does not fit"),
    "no tenant": (lambda **it: token(**{**it, "tenant": None}), "it has no tenant"),
    "no token": (lambda **it: "a.b", "it is no JWT"),
    "huge": (lambda **it: token(more="x" * 8_192, **it), "it has more than 8192 characters"),
}


@pytest.mark.parametrize("kind", BAD)
async def test_a_token_that_is_not_to_be_believed_is_refused(ask: Client, owner: Owner, kind: str) -> None:
    make, rule = BAD[kind]
    name = await owner.tenant()
    # even where nobody needs one
    for query in (WHO, "{ __typename }"):
        answer = await ask(query, headers=bearing(make(tenant=name)))
        assert refused(answer) == (401, "UNAUTHENTICATED")
        assert rule in answer.error["message"]


async def test_a_token_of_no_tenant_here_is_forbidden(ask: Client) -> None:
    for name in ("nobody", "Default", "x" * 200):
        assert refused(await ask(WHO, headers=bearing(token(tenant=name)))) == (403, "FORBIDDEN"), name


async def test_a_token_says_which_tenant_and_no_header_says_another(ask: Client, owner: Owner) -> None:
    name = await owner.tenant()
    answer = await ask(WHO, headers=bearing(token(tenant=name, sub="bob")))
    assert answer.data["viewer"] == {"tenant": name, "actor": "bob", "scopes": ["read", "write:sales"]}
    for wanted in ("default", "nobody"):
        answer = await ask(WHO, headers={**bearing(token(tenant=name)), "X-Headwater-Tenant": wanted})
        assert refused(answer) == (403, "FORBIDDEN")


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
async def test_scopes_of_a_token_are_what_it_may(ask: Client, owner: Owner, scope: Any, domain: str, status: int) -> None:
    name = await owner.tenant()
    headers = bearing(token(tenant=name, scope=scope, sub="bob"))
    answer = await ask(REGISTER, headers=headers, input=product_fields(domain=domain))
    assert answer.status == status
    if status == 403:
        assert refused(answer) == (403, "FORBIDDEN")
        assert [it.outcome for it in await owner.audited(name)] == ["KEPT"], "only that the tenant was made"
    else:
        (row, _) = await owner.audited(name)
        assert (row.actor, row.credential, row.operator, row.outcome) == ("bob", "token", False, "KEPT")


async def test_a_private_key_that_nobody_published_signs_nothing(ask: Client, owner: Owner) -> None:
    name = await owner.tenant()
    claims = jwt.decode(token(tenant=name), options={"verify_signature": False})
    headers = {"kid": "a", "jku": "https://idp.evil.example/keys", "jwk": {"kty": "EC"}}
    sent = jwt.encode(claims, signing_key("ES256", "evil"), "ES256", headers=headers)
    assert refused(await ask(WHO, headers=bearing(sent))) == (401, "UNAUTHENTICATED")

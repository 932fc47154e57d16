"""Tokens: verification and the reason of each rejection, and the settings of the trusted issuer."""

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import jwt
import pytest

from db.errors import BadInput, Unauthenticated
from graph_api.auth.key_set import Algorithm, read_key_set
from graph_api.auth.remote_key_set import JwksSource
from graph_api.auth.tokens import MAX_LENGTH, Claims, TokenVerifier, TrustedIssuer
from graph_api.settings import read_settings
from tests.graph_api.auth.issuer import AUDIENCE, ISSUER, jwks, public_pem, signing_key, token, trusted_issuer

ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)


async def rejection_of(rejected: str, issuer: TrustedIssuer | None = None) -> str:
    """Return the reason why a token is rejected. Check that the message repeats no part of the token."""
    with pytest.raises(Unauthenticated) as raised:
        await TokenVerifier(issuer or trusted_issuer()).verify(rejected)
    assert raised.value.__cause__ is None
    message = raised.value.message
    assert not any(part in message for part in rejected.split(".") if len(part) > 3)
    return message.removeprefix("The token is invalid: ").rstrip(".")


def segment(content: Any) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def with_header(header: Any, *, payload: Any = None, sign: bool = True) -> str:
    """Build a token with a given header, correctly signed or not signed."""
    content = f"{segment(header)}.{segment(payload) if payload is not None else token().split('.')[1]}"
    method = jwt.get_algorithm_by_name("ES256")
    return f"{content}.{segment(method.sign(content.encode(), signing_key('ES256'))) if sign else ''}"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_the_claims_of_a_valid_token_are_returned(algorithm: Algorithm) -> None:
    expires = int(time.time()) + 60
    claims = await TokenVerifier(trusted_issuer(algorithm)).verify(token(algorithm, exp=expires))
    assert claims == Claims("shop", "ann@shop.example", ("read", "write:sales"), datetime.fromtimestamp(expires, UTC))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": None}, "the claim exp is missing"),
        ({"iss": None}, "the claim iss is missing"),
        ({"aud": None}, "the claim aud is missing"),
        ({"aud": []}, "the claim aud is missing"),
        ({"sub": None}, "the claim sub is missing"),
        ({"tenant": None}, "the claim tenant is missing"),
        ({"exp": 1}, "it has expired (exp)"),
        ({"exp": True}, "it has expired (exp)"),
        ({"exp": "soon"}, "it is malformed"),
        ({"exp": float("inf")}, "it is malformed"),
        *(({"exp": it}, "the expiry (exp) is not a valid instant") for it in (1e12, 1e18, 1e30)),
        ({"nbf": 4_000_000_000}, "it is not valid yet (nbf or iat)"),
        ({"iat": 4_000_000_000}, "it is not valid yet (nbf or iat)"),
        ({"nbf": []}, "it is malformed"),
        ({"iat": {}}, "it is malformed"),
        ({"iss": "https://idp.evil.example"}, "it is from another issuer (iss)"),
        ({"iss": f"{ISSUER}/"}, "it is from another issuer (iss)"),
        ({"aud": "billing"}, "it is for another audience (aud)"),
        ({"aud": ["billing", "headwater2"]}, "it is for another audience (aud)"),
        ({"aud": ["headwater", 5]}, "it is for another audience (aud)"),
        ({"aud": {"headwater": True}}, "it is for another audience (aud)"),
        ({"sub": 5}, "the subject (sub) is not a string"),
        ({"sub": ""}, "the claim sub is not one line of 1 to 200 characters"),
        ({"sub": "a" * 201}, "the claim sub is not one line of 1 to 200 characters"),
        ({"sub": "a\x00b"}, "the claim sub is not one line of 1 to 200 characters"),
        ({"sub": "\ud800"}, "the claim sub is not one line of 1 to 200 characters"),
        ({"tenant": 5}, "the claim tenant is not one line of 1 to 200 characters"),
        ({"tenant": ["shop"]}, "the claim tenant is not one line of 1 to 200 characters"),
        ({"tenant": "a\nb"}, "the claim tenant is not one line of 1 to 200 characters"),
        ({"scope": 5}, "the scopes are neither a string nor a list of strings"),
        ({"scope": ["read", 5]}, "the scopes are neither a string nor a list of strings"),
        ({"scope": {"read": True}}, "the scopes are neither a string nor a list of strings"),
    ],
)
async def test_a_token_with_invalid_claims_is_rejected(changes: dict[str, Any], reason: str) -> None:
    assert await rejection_of(token(**changes)) == reason


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "it is not a JWT"),
        ("garbage", "it is not a JWT"),
        ("a.b", "it is not a JWT"),
        ("a.b.c.d.e", "it is not a JWT"),
        ("..", "it is not a JWT"),
        ("\ud800.\ud800.\ud800", "it is not a JWT"),
        ("aaaaa.bbbb.cccc", "it is not a JWT"),
        (f"{segment(b'no json')}.bbbb.cccc", "it is not a JWT"),
        (f"{segment(['alg', 'ES256'])}.bbbb.cccc", "it is not a JWT"),
        (f"{segment(b'[' * 5_000)}.bbbb.cccc", "it is not a JWT"),
        ("a" * (MAX_LENGTH + 1), "it has more than 8192 characters"),
        (f"{segment({'typ': 'JWT'})}.bbbb.cccc", "it is not signed with ES256 (alg)"),
        (f"{segment({'alg': 'none'})}.bbbb.cccc", "it is not signed with ES256 (alg)"),
        (f"{segment({'alg': ['ES256']})}.bbbb.cccc", "it is not signed with ES256 (alg)"),
        (f"{segment({'alg': 'es256'})}.bbbb.cccc", "it is not signed with ES256 (alg)"),
        (f"{segment({'alg': 'ES256', 'kid': 5})}.bbbb.cccc", "the key id (kid) is not a string"),
        (f"{segment({'alg': 'ES256', 'kid': 'a'})}.bbbb.cccc", "the signature is invalid"),
        (f"{segment({'alg': 'ES256', 'kid': 'a'})}.bbbbb.cccc", "it is malformed"),
        (f"{segment({'alg': 'ES256', 'kid': 'b'})}.bbbb.cccc", "the key id (kid) is unknown"),
    ],
)
async def test_a_value_that_is_not_a_token_of_the_issuer_is_rejected(value: str, reason: str) -> None:
    assert await rejection_of(value) == reason


async def test_an_unsigned_token_is_rejected() -> None:
    for algorithm in ("none", "None", "NONE", ""):
        header = {"alg": algorithm, "kid": "a"}
        assert await rejection_of(with_header(header, sign=False)) == "it is not a JWT"
        assert await rejection_of(with_header(header)) == "it is not signed with ES256 (alg)"
    assert await rejection_of(token().rpartition(".")[0] + ".") == "it is not a JWT"


@pytest.mark.parametrize("algorithm", [it for it in ALGORITHMS if it != "RS256"])
async def test_the_algorithm_is_not_taken_from_the_token(algorithm: Algorithm) -> None:
    assert await rejection_of(token(algorithm), trusted_issuer("RS256")) == "it is not signed with RS256 (alg)"


async def test_a_token_signed_with_the_public_key_as_a_secret_is_rejected() -> None:
    """A verifier that takes the algorithm from the token would accept it."""
    header, payload = segment({"alg": "HS256", "kid": "a"}), token("RS256").split(".")[1]
    for secret in (public_pem("RS256"), public_pem("RS256").strip(), jwks("RS256", "a")):
        forged = f"{header}.{payload}.{segment(hmac.digest(secret, f'{header}.{payload}'.encode(), hashlib.sha256))}"
        assert await rejection_of(forged, trusted_issuer("RS256")) == "it is not signed with RS256 (alg)"
        disguised = segment({"alg": "RS256", "kid": "a"})
        forged = f"{disguised}.{payload}.{segment(hmac.digest(secret, f'{disguised}.{payload}'.encode(), hashlib.sha256))}"
        assert await rejection_of(forged, trusted_issuer("RS256")) == "the signature is invalid"


async def test_a_token_signed_with_another_key_of_the_same_id_is_rejected() -> None:
    for algorithm in ALGORITHMS:
        assert await rejection_of(token(algorithm, "b"), trusted_issuer(algorithm)) == "the signature is invalid"


async def test_keys_in_the_header_of_a_token_are_ignored() -> None:
    key_headers = {"jwk": json.loads(jwks("ES256", "b"))["keys"][0], "jku": "http://127.0.0.1:9/", "x5u": "http://127.0.0.1:9/"}
    claims = jwt.decode(token(), options={"verify_signature": False})
    forged = jwt.encode(claims, signing_key("ES256", "b"), "ES256", headers={"kid": "a", **key_headers})
    assert await rejection_of(forged) == "the signature is invalid"


async def test_critical_headers_are_not_ignored() -> None:
    headers: list[dict[str, Any]] = [{"crit": ["exp"], "exp": 1}, {"crit": []}, {"b64": False}, {"b64": False, "crit": ["b64"]}]
    for header in headers:
        assert await rejection_of(with_header({"alg": "ES256", "kid": "a", **header})) == "it is malformed"


async def test_a_payload_that_is_not_an_object_is_rejected() -> None:
    payloads: list[Any] = [[], 5, b"no json", b"[" * 5_000, b'{"exp":' + b"9" * 5_000 + b"}"]
    for payload in payloads:
        assert await rejection_of(with_header({"alg": "ES256", "kid": "a"}, payload=payload)) == "it is malformed"


async def test_the_key_id_may_be_missing_if_there_is_one_key() -> None:
    one_key, two_keys = (trusted_issuer(keys=read_key_set(jwks("ES256", *names), "ES256")) for names in ("a", "ab"))
    assert (await TokenVerifier(one_key).verify(token(kid=None))).tenant == "shop"
    assert await rejection_of(token(kid="c"), one_key) == "the key id (kid) is unknown"
    for name in ("a", "b"):
        assert (await TokenVerifier(two_keys).verify(token("ES256", name, kid=name))).tenant == "shop"
    assert await rejection_of(token(kid=None), two_keys) == "the key id (kid) is missing"
    assert await rejection_of(token(kid="b"), two_keys) == "the signature is invalid"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_token_with_any_changed_character_is_rejected(algorithm: Algorithm) -> None:
    valid = token(algorithm)
    verifier = TokenVerifier(trusted_issuer(algorithm))
    for index, character in enumerate(valid):
        # a character that differs in its last bit, which may be unused in base64, and characters that end or pad text
        for other in {chr(ord(character) ^ 1), "A", "=", ".", "\n"} - {character}:
            with pytest.raises(Unauthenticated):
                await verifier.verify(valid[:index] + other + valid[index + 1 :])
    for changed in (f"{valid}=", f"{valid}\n", f" {valid}", valid[:-1], f"{valid}A", valid.replace(".", "=.", 1)):
        with pytest.raises(Unauthenticated):
            await verifier.verify(changed)
    assert (await verifier.verify(valid)).tenant == "shop"


async def test_clocks_may_differ_by_the_leeway() -> None:
    now = int(time.time())
    for verifier, tolerated in ((TokenVerifier(trusted_issuer()), 5), (TokenVerifier(trusted_issuer(leeway=60)), 50)):
        for valid in (token(exp=now - tolerated), token(nbf=now + tolerated), token(iat=now + tolerated)):
            assert (await verifier.verify(valid)).tenant == "shop"
    assert await rejection_of(token(exp=now - 11)) == "it has expired (exp)"
    for early in (token(nbf=now + 20), token(iat=now + 20)):
        assert await rejection_of(early) == "it is not valid yet (nbf or iat)"
    assert await rejection_of(token(exp=now - 1), trusted_issuer(leeway=0)) == "it has expired (exp)"


async def test_a_claim_is_found_by_its_name_or_by_a_path() -> None:
    """Issuers name claims by URLs, which contain dots, or nest them in objects."""
    nested: dict[str, Any] = {
        "realm.shop": {"id": "by name"},
        "realm": {"shop": {"id": "by path"}, "roles": ["read", "admin", "read"]},
    }
    for name, tenant in (("realm.shop.id", "by path"), ("https://shop.example/tenant", "by URL")):
        issuer = trusted_issuer(tenant_claim=name, scopes_claim="realm.roles")
        claims = await TokenVerifier(issuer).verify(token(tenant=None, **nested, **{"https://shop.example/tenant": "by URL"}))
        assert (claims.tenant, claims.scopes) == (tenant, ("read", "admin"))
    for path in ("realm.shop.id.more", "realm.none.id", "scope.id", "realm..id"):
        assert await rejection_of(token(**nested), trusted_issuer(tenant_claim=path)) == f"the claim {path} is missing"


async def test_an_audience_may_be_one_of_several_and_scopes_may_be_absent() -> None:
    claims = await TokenVerifier(trusted_issuer()).verify(token(aud=["billing", AUDIENCE], scope=None, nbf=None, iat=None))
    assert (claims.actor, claims.scopes) == ("ann@shop.example", ())
    assert (await TokenVerifier(trusted_issuer()).verify(token(scope=" read  unknown-scope "))).scopes == (
        "read",
        "unknown-scope",
    )


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Set variables that trust the issuer by a PEM file."""
    file = tmp_path / "key.pem"
    file.write_bytes(public_pem("ES256"))
    for name, value in {"ALGORITHM": "ES256", "ISSUER": ISSUER, "AUDIENCE": AUDIENCE, "KEYS": str(file)}.items():
        monkeypatch.setenv(f"HEADWATER_JWT_{name}", value)
    return monkeypatch


async def test_the_trusted_issuer_is_read_from_the_settings(environment: pytest.MonkeyPatch) -> None:
    issuer = read_settings().trusted_issuer()
    assert issuer is not None
    assert (issuer.leeway, issuer.tenant_claim, issuer.scopes_claim) == (10, "tenant", "scope")
    assert (await TokenVerifier(issuer).verify(token(kid="any"))).tenant == "shop"
    environment.delenv("HEADWATER_JWT_KEYS")
    environment.setenv("HEADWATER_JWT_JWKS_URL", "https://idp.shop.example/keys?policy=1")
    environment.setenv("HEADWATER_JWT_JWKS_TTL", "60")
    environment.setenv("HEADWATER_JWT_LEEWAY", "3")
    environment.setenv("HEADWATER_JWT_SCOPES_CLAIM", "realm.roles")
    issuer = read_settings().trusted_issuer()
    assert issuer is not None
    assert (issuer.keys, issuer.leeway) == (JwksSource("https://idp.shop.example/keys?policy=1", 60), 3)
    assert issuer.scopes_claim == "realm.roles"


def test_other_processes_read_the_same_issuer(environment: pytest.MonkeyPatch) -> None:
    settings = read_settings(jwt_leeway=5)
    for name, value in settings.environment.items():
        environment.setenv(name, value)
    assert read_settings() == settings


def test_without_settings_or_with_empty_ones_no_issuer_is_trusted(environment: pytest.MonkeyPatch) -> None:
    for name in ("ALGORITHM", "ISSUER", "AUDIENCE", "KEYS", "JWKS_URL"):
        environment.setenv(f"HEADWATER_JWT_{name}", "")
    assert read_settings().trusted_issuer() is None
    for name in ("ALGORITHM", "ISSUER", "AUDIENCE", "KEYS", "JWKS_URL"):
        environment.delenv(f"HEADWATER_JWT_{name}")
    assert read_settings().trusted_issuer() is None


INVALID_URL = "HEADWATER_JWT_JWKS_URL: must be an https URL, or http with a loopback host"
EXACTLY_ONE = "either HEADWATER_JWT_KEYS or HEADWATER_JWT_JWKS_URL is required"
BOTH_REQUIRED = "HEADWATER_JWT_ISSUER and HEADWATER_JWT_AUDIENCE are required"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ALGORITHM": "none"}, "HEADWATER_JWT_ALGORITHM: Input should be 'RS256', "),
        ({"ALGORITHM": "rs256"}, "HEADWATER_JWT_ALGORITHM: Input should be 'RS256', "),
        ({"ALGORITHM": ""}, "HEADWATER_JWT_ALGORITHM is required"),
        ({"ISSUER": ""}, BOTH_REQUIRED),
        ({"AUDIENCE": ""}, BOTH_REQUIRED),
        ({"KEYS": ""}, EXACTLY_ONE),
        ({"JWKS_URL": "https://idp.shop.example/"}, EXACTLY_ONE),
        ({"KEYS": "/nowhere/key.pem"}, "HEADWATER_JWT_KEYS: /nowhere/key.pem cannot be read: No such file or directory."),
        ({"KEYS": "/"}, "HEADWATER_JWT_KEYS: / cannot be read: Is a directory."),
        ({"ALGORITHM": "ES384"}, "HEADWATER_JWT_KEYS: ES384 needs a public key on the curve P-384."),
        ({"ALGORITHM": "RS256"}, "HEADWATER_JWT_KEYS: RS256 needs an RSA public key of at least 2048 bits."),
        ({"ALGORITHM": "PS512"}, "HEADWATER_JWT_KEYS: PS512 needs an RSA public key of at least 2048 bits."),
        ({"ALGORITHM": "EdDSA"}, "HEADWATER_JWT_KEYS: EdDSA needs a public key on the curve Ed25519 or Ed448."),
        (
            {"ALGORITHM": "HS256"},
            "HEADWATER_JWT_KEYS: HS256 needs a shared secret of at least 32 bytes, not a public or private key.",
        ),
        (
            {"ALGORITHM": "HS256", "KEYS": "", "JWKS_URL": "https://idp.shop.example/"},
            "HEADWATER_JWT_JWKS_URL: HS256 uses a shared secret, which is not published; set HEADWATER_JWT_KEYS to a file",
        ),
        *(
            ({"KEYS": "", "JWKS_URL": it}, INVALID_URL)
            for it in (
                "http://idp.shop.example/",
                "http://127.0.0.1.shop.example/",
                "http://localhost.shop.example/",
                "http://10.0.0.1/",
                "ftp://127.0.0.1/",
                "file:///etc/passwd",
                "idp.shop.example",
                "https://",
                "https:///keys",
                "https://user:hush@idp.shop.example/",
                "https://idp.shop.example/#hush",
                "https://idp.shop.example:port/",
                "https://[::1",
                "https://idp.shop.example/\n",
            )
        ),
        ({"JWKS_TTL": "9"}, "HEADWATER_JWT_JWKS_TTL: "),
        ({"LEEWAY": "-1"}, "HEADWATER_JWT_LEEWAY: "),
        ({"TENANT_CLAIM": ""}, "HEADWATER_JWT_TENANT_CLAIM: "),
    ],
)
def test_invalid_issuer_settings_are_rejected_at_startup(
    environment: pytest.MonkeyPatch, changes: dict[str, str], message: str
) -> None:
    for name, value in changes.items():
        environment.setenv(f"HEADWATER_JWT_{name}", value)
    with pytest.raises(BadInput) as raised:
        read_settings()
    assert message in raised.value.message
    assert raised.value.message.startswith("Invalid settings. ")
    assert "\n" not in raised.value.message
    assert "hush" not in raised.value.message


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/keys", "http://[::1]/", "http://localhost/", "https://10.0.0.1:8443/keys"])
def test_http_is_allowed_for_loopback_hosts_only(environment: pytest.MonkeyPatch, url: str) -> None:
    environment.setenv("HEADWATER_JWT_KEYS", "")
    environment.setenv("HEADWATER_JWT_JWKS_URL", url)
    issuer = read_settings().trusted_issuer()
    assert issuer is not None
    assert issuer.keys == JwksSource(url, 300)


def test_a_secret_is_not_shown(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"hush" * 16)
    environment.setenv("HEADWATER_JWT_ALGORITHM", "HS256")
    settings = read_settings(jwt_keys=tmp_path / "secret")
    assert "hush" not in f"{settings!r} {settings.trusted_issuer()!r} {settings.environment}"
    (tmp_path / "secret").write_bytes(b"hush")
    with pytest.raises(BadInput) as raised:
        read_settings(jwt_keys=tmp_path / "secret")
    assert "hush" not in f"{raised.value.message} {raised.value.__cause__}"

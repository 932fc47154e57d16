"""TokenVerifier: what is believed, what is refused and by which rule; and how the settings of trust are read."""

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
from tests.graph_api.auth.issuer import AUDIENCE, ISSUER, jwks, public_pem, signing_key, token, trust

ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)


async def refusal(sent: str, believed: TrustedIssuer | None = None) -> str:
    """By which rule a token is refused. Nothing of it, nor of a key, is repeated."""
    with pytest.raises(Unauthenticated) as refused:
        await TokenVerifier(believed or trust()).verify(sent)
    assert refused.value.__cause__ is None
    message = refused.value.message
    assert not any(part in message for part in sent.split(".") if len(part) > 3)
    return message.removeprefix("The token is invalid: ").rstrip(".")


def segment(content: Any) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def with_header(header: Any, *, payload: Any = None, sign: bool = True) -> str:
    """A token whose header is as the test has it, well signed unless it is not to be."""
    signed = f"{segment(header)}.{segment(payload) if payload is not None else token().split('.')[1]}"
    method = jwt.get_algorithm_by_name("ES256")
    return f"{signed}.{segment(method.sign(signed.encode(), signing_key('ES256'))) if sign else ''}"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_token_of_the_issuer_says_who_asks(algorithm: Algorithm) -> None:
    expires = int(time.time()) + 60
    claims = await TokenVerifier(trust(algorithm)).verify(token(algorithm, exp=expires))
    assert claims == Claims("shop", "ann@shop.example", ("read", "write:sales"), datetime.fromtimestamp(expires, UTC))


@pytest.mark.parametrize(
    ("changes", "rule"),
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
async def test_a_token_whose_claims_do_not_fit_is_refused(changes: dict[str, Any], rule: str) -> None:
    assert await refusal(token(**changes)) == rule


@pytest.mark.parametrize(
    ("sent", "rule"),
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
async def test_what_is_no_token_of_the_issuer_is_refused(sent: str, rule: str) -> None:
    assert await refusal(sent) == rule


async def test_a_token_that_nobody_signed_is_refused() -> None:
    for algorithm in ("none", "None", "NONE", ""):
        header = {"alg": algorithm, "kid": "a"}
        assert await refusal(with_header(header, sign=False)) == "it is not a JWT"
        assert await refusal(with_header(header)) == "it is not signed with ES256 (alg)"
    assert await refusal(token().rpartition(".")[0] + ".") == "it is not a JWT"


@pytest.mark.parametrize("algorithm", [it for it in ALGORITHMS if it != "RS256"])
async def test_a_token_is_not_asked_how_it_is_signed(algorithm: Algorithm) -> None:
    rule = "it is not signed with RS256 (alg)"
    assert await refusal(token(algorithm), trust("RS256")) == rule


async def test_a_public_key_is_no_secret() -> None:
    """Whoever has the public key could sign with it what a lenient reader would check with it."""
    header, payload = segment({"alg": "HS256", "kid": "a"}), token("RS256").split(".")[1]
    for secret in (public_pem("RS256"), public_pem("RS256").strip(), jwks("RS256", "a")):
        forged = f"{header}.{payload}.{segment(hmac.digest(secret, f'{header}.{payload}'.encode(), hashlib.sha256))}"
        assert await refusal(forged, trust("RS256")) == "it is not signed with RS256 (alg)"
        disguised = segment({"alg": "RS256", "kid": "a"})
        forged = f"{disguised}.{payload}.{segment(hmac.digest(secret, f'{disguised}.{payload}'.encode(), hashlib.sha256))}"
        assert await refusal(forged, trust("RS256")) == "the signature is invalid"


async def test_another_key_of_the_same_name_is_not_believed() -> None:
    for algorithm in ALGORITHMS:
        assert await refusal(token(algorithm, "b"), trust(algorithm)) == "the signature is invalid"


async def test_keys_that_a_token_brings_along_are_not_looked_at() -> None:
    brought = {"jwk": json.loads(jwks("ES256", "b"))["keys"][0], "jku": "http://127.0.0.1:9/", "x5u": "http://127.0.0.1:9/"}
    said = jwt.decode(token(), options={"verify_signature": False})
    forged = jwt.encode(said, signing_key("ES256", "b"), "ES256", headers={"kid": "a", **brought})
    assert await refusal(forged) == "the signature is invalid"


async def test_what_a_token_calls_critical_is_not_passed_over() -> None:
    headers: list[dict[str, Any]] = [{"crit": ["exp"], "exp": 1}, {"crit": []}, {"b64": False}, {"b64": False, "crit": ["b64"]}]
    for header in headers:
        assert await refusal(with_header({"alg": "ES256", "kid": "a", **header})) == "it is malformed"


async def test_a_payload_that_is_no_object_is_refused() -> None:
    payloads: list[Any] = [[], 5, b"no json", b"[" * 5_000, b'{"exp":' + b"9" * 5_000 + b"}"]
    for payload in payloads:
        assert await refusal(with_header({"alg": "ES256", "kid": "a"}, payload=payload)) == "it is malformed"


async def test_a_token_needs_to_name_its_key_only_where_there_are_several() -> None:
    one, two = (trust(keys=read_key_set(jwks("ES256", *names), "ES256")) for names in ("a", "ab"))
    assert (await TokenVerifier(one).verify(token(kid=None))).tenant == "shop"
    assert await refusal(token(kid="c"), one) == "the key id (kid) is unknown"
    for name in ("a", "b"):
        assert (await TokenVerifier(two).verify(token("ES256", name, kid=name))).tenant == "shop"
    assert await refusal(token(kid=None), two) == "the key id (kid) is missing"
    assert await refusal(token(kid="b"), two) == "the signature is invalid"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_token_of_which_any_character_is_another_is_refused(algorithm: Algorithm) -> None:
    sound = token(algorithm)
    tokens = TokenVerifier(trust(algorithm))
    for place, character in enumerate(sound):
        # one that differs in the last bit, which unused ends of base64 hold, one that is used alike, and what ends or fills text
        for other in {chr(ord(character) ^ 1), "A", "=", ".", "\n"} - {character}:
            with pytest.raises(Unauthenticated):
                await tokens.verify(sound[:place] + other + sound[place + 1 :])
    for changed in (f"{sound}=", f"{sound}\n", f" {sound}", sound[:-1], f"{sound}A", sound.replace(".", "=.", 1)):
        with pytest.raises(Unauthenticated):
            await tokens.verify(changed)
    assert (await tokens.verify(sound)).tenant == "shop"


async def test_clocks_may_differ_by_the_leeway_and_no_more() -> None:
    now = int(time.time())
    for tokens, fits in ((TokenVerifier(trust()), 5), (TokenVerifier(trust(leeway=60)), 50)):
        for sent in (token(exp=now - fits), token(nbf=now + fits), token(iat=now + fits)):
            assert (await tokens.verify(sent)).tenant == "shop"
    assert await refusal(token(exp=now - 11)) == "it has expired (exp)"
    for sent in (token(nbf=now + 20), token(iat=now + 20)):
        assert await refusal(sent) == "it is not valid yet (nbf or iat)"
    assert await refusal(token(exp=now - 1), trust(leeway=0)) == "it has expired (exp)"


async def test_claims_are_found_by_name_or_by_the_names_that_lead_to_them() -> None:
    """Issuers name claims by addresses, which have dots, or put them into objects."""
    nested: dict[str, Any] = {
        "realm.shop": {"id": "by name"},
        "realm": {"shop": {"id": "by way"}, "roles": ["read", "admin", "read"]},
    }
    for name, tenant in (("realm.shop.id", "by way"), ("https://shop.example/tenant", "by address")):
        believed = trust(tenant_claim=name, scopes_claim="realm.roles")
        claims = await TokenVerifier(believed).verify(
            token(tenant=None, **nested, **{"https://shop.example/tenant": "by address"})
        )
        assert (claims.tenant, claims.scopes) == (tenant, ("read", "admin"))
    for way in ("realm.shop.id.more", "realm.none.id", "scope.id", "realm..id"):
        assert await refusal(token(**nested), trust(tenant_claim=way)) == f"the claim {way} is missing"


async def test_an_audience_may_be_one_of_several_and_scopes_may_be_absent() -> None:
    claims = await TokenVerifier(trust()).verify(token(aud=["billing", AUDIENCE], scope=None, nbf=None, iat=None))
    assert (claims.actor, claims.scopes) == ("ann@shop.example", ())
    assert (await TokenVerifier(trust()).verify(token(scope=" read  unknown-scope "))).scopes == ("read", "unknown-scope")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Trust by the PEM file of a key, in the environment."""
    file = tmp_path / "key.pem"
    file.write_bytes(public_pem("ES256"))
    for name, value in {"ALGORITHM": "ES256", "ISSUER": ISSUER, "AUDIENCE": AUDIENCE, "KEYS": str(file)}.items():
        monkeypatch.setenv(f"HEADWATER_JWT_{name}", value)
    return monkeypatch


async def test_settings_say_whose_tokens_are_believed(environment: pytest.MonkeyPatch) -> None:
    believed = read_settings().trusted_issuer()
    assert believed is not None
    assert (believed.leeway, believed.tenant_claim, believed.scopes_claim) == (10, "tenant", "scope")
    assert (await TokenVerifier(believed).verify(token(kid="any"))).tenant == "shop"
    environment.delenv("HEADWATER_JWT_KEYS")
    environment.setenv("HEADWATER_JWT_JWKS_URL", "https://idp.shop.example/keys?policy=1")
    environment.setenv("HEADWATER_JWT_JWKS_TTL", "60")
    environment.setenv("HEADWATER_JWT_LEEWAY", "3")
    environment.setenv("HEADWATER_JWT_SCOPES_CLAIM", "realm.roles")
    believed = read_settings().trusted_issuer()
    assert believed is not None
    assert (believed.keys, believed.leeway) == (JwksSource("https://idp.shop.example/keys?policy=1", 60), 3)
    assert believed.scopes_claim == "realm.roles"


def test_other_processes_read_the_same_trust(environment: pytest.MonkeyPatch) -> None:
    settings = read_settings(jwt_leeway=5)
    for name, value in settings.environment.items():
        environment.setenv(name, value)
    assert read_settings() == settings


def test_where_nothing_or_only_blanks_are_set_no_token_is_believed(environment: pytest.MonkeyPatch) -> None:
    for name in ("ALGORITHM", "ISSUER", "AUDIENCE", "KEYS", "JWKS_URL"):
        environment.setenv(f"HEADWATER_JWT_{name}", "")
    assert read_settings().trusted_issuer() is None
    for name in ("ALGORITHM", "ISSUER", "AUDIENCE", "KEYS", "JWKS_URL"):
        environment.delenv(f"HEADWATER_JWT_{name}")
    assert read_settings().trusted_issuer() is None


URL = "HEADWATER_JWT_JWKS_URL: must be an https URL, or http with a loopback host"
ONE = "either HEADWATER_JWT_KEYS or HEADWATER_JWT_JWKS_URL is required"
BOTH = "HEADWATER_JWT_ISSUER and HEADWATER_JWT_AUDIENCE are required"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ALGORITHM": "none"}, "HEADWATER_JWT_ALGORITHM: Input should be 'RS256', "),
        ({"ALGORITHM": "rs256"}, "HEADWATER_JWT_ALGORITHM: Input should be 'RS256', "),
        ({"ALGORITHM": ""}, "HEADWATER_JWT_ALGORITHM is required"),
        ({"ISSUER": ""}, BOTH),
        ({"AUDIENCE": ""}, BOTH),
        ({"KEYS": ""}, ONE),
        ({"JWKS_URL": "https://idp.shop.example/"}, ONE),
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
            ({"KEYS": "", "JWKS_URL": it}, URL)
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
def test_trust_that_does_not_fit_is_refused_at_the_start(
    environment: pytest.MonkeyPatch, changes: dict[str, str], message: str
) -> None:
    for name, value in changes.items():
        environment.setenv(f"HEADWATER_JWT_{name}", value)
    with pytest.raises(BadInput) as refused:
        read_settings()
    assert message in refused.value.message
    assert refused.value.message.startswith("Invalid settings. ")
    assert "\n" not in refused.value.message
    assert "hush" not in refused.value.message


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/keys", "http://[::1]/", "http://localhost/", "https://10.0.0.1:8443/keys"])
def test_only_this_machine_is_asked_without_tls(environment: pytest.MonkeyPatch, url: str) -> None:
    environment.setenv("HEADWATER_JWT_KEYS", "")
    environment.setenv("HEADWATER_JWT_JWKS_URL", url)
    believed = read_settings().trusted_issuer()
    assert believed is not None
    assert believed.keys == JwksSource(url, 300)


def test_a_secret_is_not_shown(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"hush" * 16)
    environment.setenv("HEADWATER_JWT_ALGORITHM", "HS256")
    settings = read_settings(jwt_keys=tmp_path / "secret")
    assert "hush" not in f"{settings!r} {settings.trusted_issuer()!r} {settings.environment}"
    (tmp_path / "secret").write_bytes(b"hush")
    with pytest.raises(BadInput) as refused:
        read_settings(jwt_keys=tmp_path / "secret")
    assert "hush" not in f"{refused.value.message} {refused.value.__cause__}"

"""Verification keys: reading of files, and fetching, caching and refreshing of a JWKS."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from db.errors import Unauthenticated, Unavailable
from graph_api.auth import remote_key_set
from graph_api.auth.key_set import MAX_BYTES, Algorithm, InvalidKeys, read_key_file, read_key_set
from graph_api.auth.remote_key_set import FETCH_INTERVAL, JwksSource, RemoteKeySet
from graph_api.auth.tokens import TokenVerifier
from tests.graph_api.auth.issuer import jwk, jwks, private_pem, public_pem, signing_key, token, trusted_issuer
from tests.graph_api.records.remote import TIMEOUT, Remote, raw_server, remote

TTL = 300


def short_key() -> Any:
    return rsa.generate_private_key(65537, 1024).public_key()


def pem(key: Any) -> bytes:
    return bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


async def verify_with(file: Path, content: bytes, algorithm: Algorithm, signed: str) -> str:
    """Return the tenant of a token that is verified with a key file of this content."""
    file.write_bytes(content)
    return (await TokenVerifier(trusted_issuer(algorithm, read_key_file(file, algorithm))).verify(signed)).tenant


async def test_a_key_file_holds_a_public_key_a_secret_or_a_jwks(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    asymmetric: list[Algorithm] = ["RS256", "PS384", "ES256", "ES384", "ES512", "EdDSA"]
    for algorithm in asymmetric:
        assert await verify_with(file, public_pem(algorithm), algorithm, token(algorithm, kid=None)) == "shop"
        assert await verify_with(file, public_pem(algorithm), algorithm, token(algorithm, kid="any")) == "shop"
        assert await verify_with(file, jwks(algorithm, "b", "a"), algorithm, token(algorithm)) == "shop"
    for ending in (b"", b"\n", b"\r\n"):
        assert await verify_with(file, signing_key("HS512") + ending, "HS512", token("HS512")) == "shop"
    assert await verify_with(file, jwks("HS256", "b", "a"), "HS256", token("HS256")) == "shop"


async def test_a_line_end_of_a_binary_secret_is_part_of_it(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"{" + b"\xff" * 30 + b"\n")
    assert await read_key_file(file, "HS256").find(None) == file.read_bytes()


NEEDS_RSA = "RS256 needs an RSA public key of at least 2048 bits"
NEEDS_SECRET = "HS256 needs a shared secret of at least 32 bytes, not a public or private key"
INVALID_PEM = "the file does not hold a valid PEM public key"
NEITHER_PEM_NOR_JWKS = 'expected a public key as PEM, or a JWKS such as {"keys": [{"kty": "RSA", …}]}'
PRIVATE_KEY = "the file holds a private key, which only the issuer of tokens should have; use the public key"


@pytest.mark.parametrize(
    ("algorithm", "content", "reason"),
    [
        ("RS256", lambda: b"", NEITHER_PEM_NOR_JWKS),
        ("RS256", lambda: b"\xff\xfe", NEITHER_PEM_NOR_JWKS),
        ("RS256", lambda: b"[" * 60_000, NEITHER_PEM_NOR_JWKS),
        ("RS256", lambda: b"x" * (MAX_BYTES + 1), "the file is larger than 65536 bytes"),
        ("RS256", lambda: json.dumps(jwk("RS256")).encode(), NEITHER_PEM_NOR_JWKS),
        ("RS256", lambda: b'{"keys": {}}', NEITHER_PEM_NOR_JWKS),
        ("RS256", lambda: b'{"keys": []}', "the JWKS is empty"),
        ("RS256", lambda: private_pem("RS256"), PRIVATE_KEY),
        ("RS256", lambda: public_pem("RS256") * 2, "the file holds several PEM blocks; use one public key, or a JWKS"),
        ("RS256", lambda: public_pem("RS256")[:200], INVALID_PEM),
        ("RS256", lambda: public_pem("RS256").replace(b"A", b"B"), INVALID_PEM),
        ("RS256", lambda: public_pem("RS256").replace(b"PUBLIC KEY", b"CERTIFICATE"), INVALID_PEM),
        ("RS256", lambda: pem(short_key()), NEEDS_RSA),
        ("RS256", lambda: public_pem("ES256"), NEEDS_RSA),
        ("RS256", lambda: public_pem("EdDSA"), NEEDS_RSA),
        ("RS256", lambda: signing_key("HS256"), NEITHER_PEM_NOR_JWKS),
        ("ES256", lambda: public_pem("RS256"), "ES256 needs a public key on the curve P-256"),
        ("ES256", lambda: public_pem("ES384"), "ES256 needs a public key on the curve P-256"),
        ("ES384", lambda: public_pem("ES256"), "ES384 needs a public key on the curve P-384"),
        ("EdDSA", lambda: public_pem("ES256"), "EdDSA needs a public key on the curve Ed25519 or Ed448"),
        ("HS256", lambda: b"", NEEDS_SECRET),
        ("HS256", lambda: b"s" * 31 + b"\n", NEEDS_SECRET),
        ("HS256", lambda: public_pem("RS256"), NEEDS_SECRET),
        ("HS256", lambda: private_pem("ES256"), NEEDS_SECRET),
        ("HS256", lambda: jwks("RS256", "a"), "no key of the JWKS can be used: alg is not HS256"),
        ("HS256", lambda: json.dumps(jwk("RS256")).encode(), NEITHER_PEM_NOR_JWKS),
        ("HS384", lambda: b"s" * 47, NEEDS_SECRET.replace("256", "384").replace("32", "48")),
        ("HS512", lambda: b"s" * 63, NEEDS_SECRET.replace("256", "512").replace("32", "64")),
    ],
)
def test_an_unusable_key_file_is_rejected(
    tmp_path: Path, algorithm: Algorithm, content: Callable[[], bytes], reason: str
) -> None:
    file = tmp_path / "keys"
    file.write_bytes(content())
    with pytest.raises(InvalidKeys) as rejected:
        read_key_file(file, algorithm)
    assert str(rejected.value) == reason
    assert rejected.value.__cause__ is None


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (lambda: 5, "a key is not a JSON object"),
        (lambda: jwk("RS256", kid=5), "kid is not a string"),
        (lambda: jwk("RS256", alg="RS512"), "alg is not RS256"),
        (lambda: jwk("RS256", alg=5), "alg is not RS256"),
        (lambda: jwk("RS256", use="enc"), "use or key_ops does not allow the key to verify signatures"),
        (lambda: jwk("RS256", key_ops=["encrypt"]), "use or key_ops does not allow the key to verify signatures"),
        (lambda: jwk("RS256", key_ops="verify"), "use or key_ops does not allow the key to verify signatures"),
        (lambda: jwk("RS256", d="AQAB"), "it is a private key, which only the issuer of tokens should have"),
        (lambda: jwk("RS256", kty="oct", k="A" * 43), NEEDS_RSA),
        (lambda: jwk("RS256", kty=None), NEEDS_RSA),
        (lambda: jwk("RS256", n=None), NEEDS_RSA),
        (lambda: jwk("RS256", n=5), NEEDS_RSA),
        (lambda: jwk("RS256", n="é"), NEEDS_RSA),
        (lambda: jwk("RS256", n="AQAB"), NEEDS_RSA),
        (lambda: jwk("RS256", e="AQ"), NEEDS_RSA),
        (lambda: jwk("ES256", alg=None), NEEDS_RSA),
        (lambda: jwk("HS256", alg=None), NEEDS_RSA),
    ],
)
def test_unusable_keys_of_a_jwks_are_left_out(member: Callable[[], Any], reason: str) -> None:
    with pytest.raises(InvalidKeys) as rejected:
        read_key_set(json.dumps({"keys": [member()]}).encode(), "RS256")
    assert str(rejected.value) == f"no key of the JWKS can be used: {reason}"
    mixed = read_key_set(json.dumps({"keys": [member(), jwk("RS256", "b", alg=None, use=None)]}).encode(), "RS256")
    assert mixed.get("a") is None
    assert mixed.get("b") == mixed.get(None) is not None


def test_a_jwks_with_duplicate_key_ids_is_rejected() -> None:
    for kid in ("a", None):
        keys = [jwk("ES256", name, kid=kid) for name in "ab"]
        with pytest.raises(InvalidKeys, match="each key of a JWKS needs a kid that no other key has"):
            read_key_set(json.dumps({"keys": keys}).encode(), "ES256")


class Clock:
    """Clock that a test advances."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(remote_key_set, "monotonic", clock)
    return clock


@pytest.fixture
async def idp() -> AsyncIterator[Remote]:
    async with remote() as service:
        publish(service, "a")
        yield service


def publish(service: Remote, *names: str) -> None:
    async def handler(_: Request) -> Response:
        return Response(jwks("ES256", *names), media_type="application/jwk-set+json")

    service.handler = handler


def respond_with(service: Remote, response: Callable[[], Response]) -> None:
    async def handler(_: Request) -> Response:
        return response()

    service.handler = handler


@asynccontextmanager
async def verifier_of(url: str) -> AsyncIterator[TokenVerifier]:
    verifier = TokenVerifier(trusted_issuer(keys=JwksSource(url, TTL)))
    try:
        yield verifier
    finally:
        await verifier.close()


async def accepts(verifier: TokenVerifier, name: str = "a") -> bool:
    """True if the verifier accepts a token signed with the key of this name, False if it does not know the key."""
    async with asyncio.timeout(TIMEOUT):
        try:
            await verifier.verify(token("ES256", name, kid=name))
        except Unauthenticated as error:
            if error.message != "The token is invalid: the key id (kid) is unknown.":
                raise
            return False
        return True


async def test_keys_are_fetched_on_first_use_and_cached_for_the_ttl(idp: Remote, clock: Clock) -> None:
    async with verifier_of(f"{idp.address}/keys?policy=1") as verifier:
        assert idp.targets == []
        assert [await accepts(verifier) for _ in range(3)] == [True] * 3
        clock.now += TTL - 1
        assert await accepts(verifier)
        assert idp.targets == ["/keys?policy=1"]
        publish(idp, "b")
        clock.now += 1
        assert not await accepts(verifier)
        assert len(idp.targets) == 2
        assert await accepts(verifier, "b")
    assert len(idp.targets) == 2


async def test_the_request_for_a_jwks_has_exactly_the_expected_headers(idp: Remote) -> None:
    async with verifier_of(idp.address) as verifier:
        await accepts(verifier)
    assert idp.headers == [
        {
            "host": f"127.0.0.1:{idp.port}",
            "user-agent": "headwater",
            "accept": "application/jwk-set+json, application/json",
            "accept-encoding": "identity",
            "connection": "close",
        }
    ]


async def test_a_proxy_in_the_environment_is_not_used(idp: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with verifier_of(idp.address) as verifier:
        assert await accepts(verifier)


async def test_a_new_key_is_accepted_after_one_fetch(idp: Remote, clock: Clock) -> None:
    async with verifier_of(idp.address) as verifier:
        assert await accepts(verifier)
        publish(idp, "a", "b")
        assert not await accepts(verifier, "b")
        clock.now += FETCH_INTERVAL
        assert await accepts(verifier, "b")
        assert await accepts(verifier)
        assert len(idp.targets) == 2


async def test_many_unknown_key_ids_cause_one_fetch_per_interval(idp: Remote, clock: Clock) -> None:
    async with verifier_of(idp.address) as verifier:
        assert await accepts(verifier)
        for fetches in (2, 3):
            clock.now += FETCH_INTERVAL
            flood = [token(kid=f"unknown-{number}") for number in range(100)]
            answers = await asyncio.gather(*(verifier.verify(it) for it in flood), return_exceptions=True)
            assert {type(it) for it in answers} == {Unauthenticated}
            for it in flood:
                with pytest.raises(Unauthenticated):
                    await verifier.verify(it)
            clock.now += FETCH_INTERVAL - 1
            assert not await accepts(verifier, "b")
            assert len(idp.targets) == fetches
            clock.now -= FETCH_INTERVAL - 1


async def test_concurrent_first_callers_share_one_fetch(idp: Remote) -> None:
    async with verifier_of(idp.address) as verifier:
        assert all(await asyncio.gather(*(accepts(verifier) for _ in range(50))))
    assert len(idp.targets) == 1


async def test_a_malformed_token_causes_no_fetch(idp: Remote) -> None:
    async with verifier_of(idp.address) as verifier:
        for malformed in ("garbage", token("RS256"), token("HS256"), "a" * 9_000):
            with pytest.raises(Unauthenticated):
                await verifier.verify(malformed)
    assert idp.targets == []


async def test_a_cancelled_caller_does_not_cancel_the_fetch(idp: Remote) -> None:
    requested, released = asyncio.Event(), asyncio.Event()

    async def wait_for_release(_: Request) -> Response:
        requested.set()
        await released.wait()
        return Response(jwks("ES256", "a"))

    idp.handler = wait_for_release
    async with verifier_of(idp.address) as verifier:
        cancelled, waiting = asyncio.create_task(accepts(verifier)), asyncio.create_task(accepts(verifier))
        await requested.wait()
        cancelled.cancel()
        await asyncio.wait([cancelled])
        released.set()
        assert await waiting
    assert cancelled.cancelled()
    assert len(idp.targets) == 1


async def forever(request: Request) -> Response:
    while not await request.is_disconnected():  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    return Response()


async def endless() -> AsyncIterator[bytes]:
    for _ in range(160):
        yield b" " * 65_536


FAILURES: list[tuple[Callable[[], Response], str]] = [
    (lambda: Response(status_code=500), "the URL answers with status 500"),
    (lambda: Response(jwks("ES256", "a"), 404), "the URL answers with status 404"),
    (lambda: Response(jwks("ES256", "a"), 206), "the URL answers with status 206"),
    (lambda: RedirectResponse("/elsewhere"), "the URL redirects, and redirects are not followed"),
    (lambda: Response(b" " * 10_000_000), "the URL answers with more than 65536 bytes"),
    (lambda: StreamingResponse(endless()), "the URL answers with more than 65536 bytes"),
    (
        lambda: Response(jwks("ES256", "a"), headers={"Content-Encoding": "gzip"}),
        "the URL answers with a Content-Encoding that was not requested",
    ),
    (lambda: Response(b"<html>"), NEITHER_PEM_NOR_JWKS),
    (lambda: Response(public_pem("ES256")), NEITHER_PEM_NOR_JWKS),
    (lambda: Response(jwks("ES384", "a")), "no key of the JWKS can be used: alg is not ES256"),
]


@pytest.mark.parametrize(("response", "reason"), FAILURES)
async def test_a_failed_fetch_is_logged_and_cached_keys_stay_valid(
    idp: Remote, clock: Clock, response: Callable[[], Response], reason: str
) -> None:
    async with verifier_of(idp.address) as verifier:
        respond_with(idp, response)
        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                with pytest.raises(
                    Unavailable, match=r"^The keys that tokens are verified with \(HEADWATER_JWT_JWKS_URL\) cannot be fetched\."
                ):
                    await accepts(verifier)
        assert logs == [{"event": "JWKS fetch failed", "log_level": "warning", "reason": reason, "cached": False}]
        assert len(idp.targets) == 1
        publish(idp, "a")
        clock.now += FETCH_INTERVAL
        assert await accepts(verifier)
        respond_with(idp, response)
        clock.now += TTL
        with structlog.testing.capture_logs() as logs:
            assert await accepts(verifier)
            assert not await accepts(verifier, "b")
        assert logs == [{"event": "JWKS fetch failed", "log_level": "warning", "reason": reason, "cached": True}]
        assert len(idp.targets) == 3


async def test_callers_wait_once_for_an_issuer_that_does_not_answer(
    idp: Remote, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_key_set, "FETCH_TIMEOUT", 0.05)
    async with verifier_of(idp.address) as verifier:
        assert await accepts(verifier)
        idp.handler = forever
        clock.now += TTL
        assert await accepts(verifier)
        monkeypatch.setattr(remote_key_set, "FETCH_TIMEOUT", 60)
        clock.now += FETCH_INTERVAL
        # callers with a known key do not wait for the running fetch
        assert await accepts(verifier)
        waiting = asyncio.create_task(accepts(verifier, "b"))
        async with asyncio.timeout(TIMEOUT):
            while len(idp.targets) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        clock.now += FETCH_INTERVAL
        assert await accepts(verifier)
        assert not waiting.done()
        waiting.cancel()
    assert len(idp.targets) == 3
    assert [it for it in asyncio.all_tasks() if "_fetch_keys" in repr(it.get_coro())] == []


async def test_after_a_failure_keys_are_refreshed_in_the_background(idp: Remote, clock: Clock) -> None:
    async with verifier_of(idp.address) as verifier:
        assert await accepts(verifier)
        respond_with(idp, lambda: Response(status_code=503))
        clock.now += TTL
        assert await accepts(verifier)
        publish(idp, "b")
        clock.now += FETCH_INTERVAL
        assert await accepts(verifier)
        assert await accepts(verifier, "b")
        assert not await accepts(verifier)
        assert len(idp.targets) == 3
        # after a success, callers wait for the refresh again
        publish(idp, "a")
        clock.now += TTL
        assert not await accepts(verifier, "b")


async def close_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.readuntil(b"\r\n\r\n"))
    await writer.drain()


@pytest.mark.parametrize("handle", [close_connection, echo])
async def test_an_issuer_without_http_is_unavailable(
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> None:
    async with raw_server(handle) as port, verifier_of(f"http://127.0.0.1:{port}") as verifier:
        with structlog.testing.capture_logs() as logs, pytest.raises(Unavailable):
            await accepts(verifier)
    assert [(it["event"], it["reason"]) for it in logs] == [("JWKS fetch failed", "RemoteProtocolError")]


async def test_an_issuer_that_cannot_be_connected_to_is_unavailable(idp: Remote) -> None:
    async with raw_server(close_connection) as port:
        pass
    for address in (f"http://127.0.0.1:{port}", f"https://127.0.0.1:{idp.port}"):
        async with verifier_of(address) as verifier:
            with structlog.testing.capture_logs() as logs, pytest.raises(Unavailable):
                await accepts(verifier)
        assert [it["event"] for it in logs] == ["JWKS fetch failed"]
    assert idp.targets == []


async def test_close_cancels_the_running_fetch(idp: Remote) -> None:
    idp.handler = forever
    keys = RemoteKeySet(JwksSource(idp.address, TTL), "ES256")
    waiting = asyncio.create_task(keys.find("a"))
    async with asyncio.timeout(TIMEOUT):
        while not idp.targets:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        await keys.close()
        await asyncio.wait([waiting])
    assert [it for it in asyncio.all_tasks() if "_fetch_keys" in repr(it.get_coro())] == []

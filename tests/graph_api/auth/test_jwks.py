"""Keys: which files of them are read, and how those that an issuer publishes are fetched, kept and fetched again."""

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
from tests.graph_api.auth.issuer import jwk, jwks, private_pem, public_pem, signing_key, token, trust
from tests.graph_api.records.remote import PATIENCE, Remote, raw, remote

KEPT = 300


def small() -> Any:
    return rsa.generate_private_key(65537, 1024).public_key()


def pem(key: Any) -> bytes:
    return bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


async def read(file: Path, content: bytes, algorithm: Algorithm, sent: str) -> str:
    """The tenant of a token, checked with what a file holds."""
    file.write_bytes(content)
    return (await TokenVerifier(trust(algorithm, read_key_file(file, algorithm))).verify(sent)).tenant


async def test_a_file_holds_a_public_key_or_a_secret_or_a_set(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    asymmetric: list[Algorithm] = ["RS256", "PS384", "ES256", "ES384", "ES512", "EdDSA"]
    for algorithm in asymmetric:
        assert await read(file, public_pem(algorithm), algorithm, token(algorithm, kid=None)) == "shop"
        assert await read(file, public_pem(algorithm), algorithm, token(algorithm, kid="whichever")) == "shop"
        assert await read(file, jwks(algorithm, "b", "a"), algorithm, token(algorithm)) == "shop"
    for ending in (b"", b"\n", b"\r\n"):
        assert await read(file, signing_key("HS512") + ending, "HS512", token("HS512")) == "shop"
    assert await read(file, jwks("HS256", "b", "a"), "HS256", token("HS256")) == "shop"


async def test_of_a_secret_that_is_no_text_every_byte_counts(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"{" + b"\xff" * 30 + b"\n")
    assert await read_key_file(file, "HS256").find(None) == file.read_bytes()


RSA = "RS256 needs an RSA public key of at least 2048 bits"
SECRET = "HS256 needs a shared secret of at least 32 bytes, not a public or private key"
READABLE = "the file does not hold a valid PEM public key"
NEITHER = 'expected a public key as PEM, or a JWKS such as {"keys": [{"kty": "RSA", …}]}'
PRIVATE = "the file holds a private key, which only the issuer of tokens should have; use the public key"


@pytest.mark.parametrize(
    ("algorithm", "content", "reason"),
    [
        ("RS256", lambda: b"", NEITHER),
        ("RS256", lambda: b"\xff\xfe", NEITHER),
        ("RS256", lambda: b"[" * 60_000, NEITHER),
        ("RS256", lambda: b"x" * (MAX_BYTES + 1), "the file is larger than 65536 bytes"),
        ("RS256", lambda: json.dumps(jwk("RS256")).encode(), NEITHER),
        ("RS256", lambda: b'{"keys": {}}', NEITHER),
        ("RS256", lambda: b'{"keys": []}', "the JWKS is empty"),
        ("RS256", lambda: private_pem("RS256"), PRIVATE),
        ("RS256", lambda: public_pem("RS256") * 2, "the file holds several PEM blocks; use one public key, or a JWKS"),
        ("RS256", lambda: public_pem("RS256")[:200], READABLE),
        ("RS256", lambda: public_pem("RS256").replace(b"A", b"B"), READABLE),
        ("RS256", lambda: public_pem("RS256").replace(b"PUBLIC KEY", b"CERTIFICATE"), READABLE),
        ("RS256", lambda: pem(small()), RSA),
        ("RS256", lambda: public_pem("ES256"), RSA),
        ("RS256", lambda: public_pem("EdDSA"), RSA),
        ("RS256", lambda: signing_key("HS256"), NEITHER),
        ("ES256", lambda: public_pem("RS256"), "ES256 needs a public key on the curve P-256"),
        ("ES256", lambda: public_pem("ES384"), "ES256 needs a public key on the curve P-256"),
        ("ES384", lambda: public_pem("ES256"), "ES384 needs a public key on the curve P-384"),
        ("EdDSA", lambda: public_pem("ES256"), "EdDSA needs a public key on the curve Ed25519 or Ed448"),
        ("HS256", lambda: b"", SECRET),
        ("HS256", lambda: b"s" * 31 + b"\n", SECRET),
        ("HS256", lambda: public_pem("RS256"), SECRET),
        ("HS256", lambda: private_pem("ES256"), SECRET),
        ("HS256", lambda: jwks("RS256", "a"), "no key of the JWKS can be used: alg is not HS256"),
        ("HS256", lambda: json.dumps(jwk("RS256")).encode(), NEITHER),
        ("HS384", lambda: b"s" * 47, SECRET.replace("256", "384").replace("32", "48")),
        ("HS512", lambda: b"s" * 63, SECRET.replace("256", "512").replace("32", "64")),
    ],
)
def test_a_file_of_anything_else_is_refused(
    tmp_path: Path, algorithm: Algorithm, content: Callable[[], bytes], reason: str
) -> None:
    file = tmp_path / "keys"
    file.write_bytes(content())
    with pytest.raises(InvalidKeys) as refused:
        read_key_file(file, algorithm)
    assert str(refused.value) == reason
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    ("described", "reason"),
    [
        (lambda: 5, "a key is not a JSON object"),
        (lambda: jwk("RS256", kid=5), "kid is not a string"),
        (lambda: jwk("RS256", alg="RS512"), "alg is not RS256"),
        (lambda: jwk("RS256", alg=5), "alg is not RS256"),
        (lambda: jwk("RS256", use="enc"), "use or key_ops does not allow the key to verify signatures"),
        (lambda: jwk("RS256", key_ops=["encrypt"]), "use or key_ops does not allow the key to verify signatures"),
        (lambda: jwk("RS256", key_ops="verify"), "use or key_ops does not allow the key to verify signatures"),
        (lambda: jwk("RS256", d="AQAB"), "it is a private key, which only the issuer of tokens should have"),
        (lambda: jwk("RS256", kty="oct", k="A" * 43), RSA),
        (lambda: jwk("RS256", kty=None), RSA),
        (lambda: jwk("RS256", n=None), RSA),
        (lambda: jwk("RS256", n=5), RSA),
        (lambda: jwk("RS256", n="é"), RSA),
        (lambda: jwk("RS256", n="AQAB"), RSA),
        (lambda: jwk("RS256", e="AQ"), RSA),
        (lambda: jwk("ES256", alg=None), RSA),
        (lambda: jwk("HS256", alg=None), RSA),
    ],
)
def test_of_a_set_only_keys_that_fit_the_algorithm_are_used(described: Callable[[], Any], reason: str) -> None:
    with pytest.raises(InvalidKeys) as refused:
        read_key_set(json.dumps({"keys": [described()]}).encode(), "RS256")
    assert str(refused.value) == f"no key of the JWKS can be used: {reason}"
    mixed = read_key_set(json.dumps({"keys": [described(), jwk("RS256", "b", alg=None, use=None)]}).encode(), "RS256")
    assert mixed.get("a") is None
    assert mixed.get("b") == mixed.get(None) is not None


def test_a_set_in_which_a_name_stands_for_two_keys_is_refused() -> None:
    for kid in ("a", None):
        keys = [jwk("ES256", name, kid=kid) for name in "ab"]
        with pytest.raises(InvalidKeys, match="each key of a JWKS needs a kid that no other key has"):
            read_key_set(json.dumps({"keys": keys}).encode(), "ES256")


class Clock:
    """The time that keys are kept by."""

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
    async def published(_: Request) -> Response:
        return Response(jwks("ES256", *names), media_type="application/jwk-set+json")

    service.answer = published


def answer(service: Remote, response: Callable[[], Response]) -> None:
    async def given(_: Request) -> Response:
        return response()

    service.answer = given


@asynccontextmanager
async def tokens_of(address: str) -> AsyncIterator[TokenVerifier]:
    tokens = TokenVerifier(trust(keys=JwksSource(address, KEPT)))
    try:
        yield tokens
    finally:
        await tokens.close()


async def believed(tokens: TokenVerifier, name: str = "a") -> bool:
    """Whether a token that is signed with the key of that name is believed."""
    async with asyncio.timeout(PATIENCE):
        try:
            await tokens.verify(token("ES256", name, kid=name))
        except Unauthenticated as refused:
            if refused.message != "The token is invalid: the key id (kid) is unknown.":
                raise
            return False
        return True


async def test_keys_are_fetched_when_they_are_needed_and_kept_until_they_are_old(idp: Remote, clock: Clock) -> None:
    async with tokens_of(f"{idp.address}/keys?policy=1") as tokens:
        assert idp.targets == []
        assert [await believed(tokens) for _ in range(3)] == [True] * 3
        clock.now += KEPT - 1
        assert await believed(tokens)
        assert idp.targets == ["/keys?policy=1"]
        publish(idp, "b")
        clock.now += 1
        assert not await believed(tokens)
        assert len(idp.targets) == 2
        assert await believed(tokens, "b")
    assert len(idp.targets) == 2


async def test_a_request_for_keys_says_no_more_than_it_has_to(idp: Remote) -> None:
    async with tokens_of(idp.address) as tokens:
        await believed(tokens)
    assert idp.headers == [
        {
            "host": f"127.0.0.1:{idp.port}",
            "user-agent": "headwater",
            "accept": "application/jwk-set+json, application/json",
            "accept-encoding": "identity",
            "connection": "close",
        }
    ]


async def test_a_proxy_in_the_environment_is_not_told_of_keys(idp: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with tokens_of(idp.address) as tokens:
        assert await believed(tokens)


async def test_a_key_that_is_new_is_believed_after_one_fetch(idp: Remote, clock: Clock) -> None:
    async with tokens_of(idp.address) as tokens:
        assert await believed(tokens)
        publish(idp, "a", "b")
        assert not await believed(tokens, "b")
        clock.now += FETCH_INTERVAL
        assert await believed(tokens, "b")
        assert await believed(tokens)
        assert len(idp.targets) == 2


async def test_a_flood_of_unknown_keys_has_them_fetched_once_in_a_while(idp: Remote, clock: Clock) -> None:
    async with tokens_of(idp.address) as tokens:
        assert await believed(tokens)
        for fetches in (2, 3):
            clock.now += FETCH_INTERVAL
            flood = [token(kid=f"made-up-{number}") for number in range(100)]
            answers = await asyncio.gather(*(tokens.verify(it) for it in flood), return_exceptions=True)
            assert {type(it) for it in answers} == {Unauthenticated}
            for it in flood:
                with pytest.raises(Unauthenticated):
                    await tokens.verify(it)
            clock.now += FETCH_INTERVAL - 1
            assert not await believed(tokens, "b")
            assert len(idp.targets) == fetches
            clock.now -= FETCH_INTERVAL - 1


async def test_the_first_callers_share_one_fetch(idp: Remote) -> None:
    async with tokens_of(idp.address) as tokens:
        assert all(await asyncio.gather(*(believed(tokens) for _ in range(50))))
    assert len(idp.targets) == 1


async def test_what_is_refused_at_a_glance_has_nothing_fetched(idp: Remote) -> None:
    async with tokens_of(idp.address) as tokens:
        for sent in ("garbage", token("RS256"), token("HS256"), "a" * 9_000):
            with pytest.raises(Unauthenticated):
                await tokens.verify(sent)
    assert idp.targets == []


async def test_who_leaves_while_keys_are_fetched_leaves_the_fetch_to_the_others(idp: Remote) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def held(_: Request) -> Response:
        asked.set()
        await go_on.wait()
        return Response(jwks("ES256", "a"))

    idp.answer = held
    async with tokens_of(idp.address) as tokens:
        leaving, staying = asyncio.create_task(believed(tokens)), asyncio.create_task(believed(tokens))
        await asked.wait()
        leaving.cancel()
        await asyncio.wait([leaving])
        go_on.set()
        assert await staying
    assert leaving.cancelled()
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
    (lambda: Response(b"<html>"), NEITHER),
    (lambda: Response(public_pem("ES256")), NEITHER),
    (lambda: Response(jwks("ES384", "a")), "no key of the JWKS can be used: alg is not ES256"),
]


@pytest.mark.parametrize(("response", "reason"), FAILURES)
async def test_an_issuer_that_fails_is_not_believed_and_what_is_known_goes_on(
    idp: Remote, clock: Clock, response: Callable[[], Response], reason: str
) -> None:
    async with tokens_of(idp.address) as tokens:
        answer(idp, response)
        with structlog.testing.capture_logs() as logged:
            for _ in range(3):
                with pytest.raises(
                    Unavailable, match=r"^The keys that tokens are verified with \(HEADWATER_JWT_JWKS_URL\) cannot be fetched\."
                ):
                    await believed(tokens)
        assert logged == [{"event": "JWKS fetch failed", "log_level": "warning", "reason": reason, "cached": False}]
        assert len(idp.targets) == 1
        publish(idp, "a")
        clock.now += FETCH_INTERVAL
        assert await believed(tokens)
        answer(idp, response)
        clock.now += KEPT
        with structlog.testing.capture_logs() as logged:
            assert await believed(tokens)
            assert not await believed(tokens, "b")
        assert logged == [{"event": "JWKS fetch failed", "log_level": "warning", "reason": reason, "cached": True}]
        assert len(idp.targets) == 3


async def test_an_issuer_that_hangs_keeps_callers_waiting_once(
    idp: Remote, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_key_set, "FETCH_TIMEOUT", 0.05)
    async with tokens_of(idp.address) as tokens:
        assert await believed(tokens)
        idp.answer = forever
        clock.now += KEPT
        assert await believed(tokens)
        monkeypatch.setattr(remote_key_set, "FETCH_TIMEOUT", 60)
        clock.now += FETCH_INTERVAL
        # one that is under way is waited for by nobody whose key is known
        assert await believed(tokens)
        asking = asyncio.create_task(believed(tokens, "b"))
        async with asyncio.timeout(PATIENCE):
            while len(idp.targets) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        clock.now += FETCH_INTERVAL
        assert await believed(tokens)
        assert not asking.done()
        asking.cancel()
    assert len(idp.targets) == 3
    assert [it for it in asyncio.all_tasks() if "_fetch_keys" in repr(it.get_coro())] == []


async def test_after_a_failure_the_keys_are_fetched_beside_those_who_ask(idp: Remote, clock: Clock) -> None:
    async with tokens_of(idp.address) as tokens:
        assert await believed(tokens)
        answer(idp, lambda: Response(status_code=503))
        clock.now += KEPT
        assert await believed(tokens)
        publish(idp, "b")
        clock.now += FETCH_INTERVAL
        assert await believed(tokens)
        assert await believed(tokens, "b")
        assert not await believed(tokens)
        assert len(idp.targets) == 3
        # what has recovered is waited for again
        publish(idp, "a")
        clock.now += KEPT
        assert not await believed(tokens, "b")


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")


async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.readuntil(b"\r\n\r\n"))
    await writer.drain()


@pytest.mark.parametrize("handle", [hang_up, babble])
async def test_an_issuer_that_speaks_no_http_is_unavailable(
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> None:
    async with raw(handle) as port, tokens_of(f"http://127.0.0.1:{port}") as tokens:
        with structlog.testing.capture_logs() as logged, pytest.raises(Unavailable):
            await believed(tokens)
    assert [(it["event"], it["reason"]) for it in logged] == [("JWKS fetch failed", "RemoteProtocolError")]


async def test_an_issuer_that_is_not_there_is_unavailable(idp: Remote) -> None:
    async with raw(hang_up) as port:
        pass
    for address in (f"http://127.0.0.1:{port}", f"https://127.0.0.1:{idp.port}"):
        async with tokens_of(address) as tokens:
            with structlog.testing.capture_logs() as logged, pytest.raises(Unavailable):
                await believed(tokens)
        assert [it["event"] for it in logged] == ["JWKS fetch failed"]
    assert idp.targets == []


async def test_who_closes_ends_the_fetch_under_way(idp: Remote) -> None:
    idp.answer = forever
    keys = RemoteKeySet(JwksSource(idp.address, KEPT), "ES256")
    asking = asyncio.create_task(keys.find("a"))
    async with asyncio.timeout(PATIENCE):
        while not idp.targets:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        await keys.close()
        await asyncio.wait([asking])
    assert [it for it in asyncio.all_tasks() if "_fetch_keys" in repr(it.get_coro())] == []

"""Fetching of records without GraphQL: failures of a service affect one request, and leave nothing behind."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from db.errors import LimitExceeded, NotFound, Unavailable
from graph_api import app as application
from graph_api.records import fetching, results
from graph_api.records.configuration import Service
from graph_api.records.fetching import RecordFetcher
from graph_api.records.grants import GrantedServices
from graph_api.settings import Settings
from schema.execution.external_record import Caller, Lookup
from tests.graph_api.records.remote import TIMEOUT, Remote, raw_server, record, remote
from tests.processes import wait_until

CALLER = Caller("r-1", "default", 1, "key")


@pytest.fixture
async def crm() -> AsyncIterator[Remote]:
    async with remote() as service:
        yield service


def fetcher(service: Service) -> RecordFetcher:
    """Build the fetcher of one service, in a database whose only tenant is `default`."""

    async def only_tenant() -> str:
        return "default"

    services = {"crm": service}
    return RecordFetcher(services, GrantedServices(services, only_tenant))


@asynccontextmanager
async def fetcher_of(address: str, **options: Any) -> AsyncIterator[RecordFetcher]:
    records = fetcher(Service(address=address, **options))
    try:
        yield records
    finally:
        await records.close()


def lookups(*keys: str, endpoint: str = "/customers") -> dict[Lookup, int]:
    return {Lookup("crm", endpoint, "id", key): 1 for key in keys}


async def fetch(records: RecordFetcher, *keys: str, caller: Caller = CALLER, endpoint: str = "/customers") -> list[Any]:
    """Fetch records by their keys, in that order. A failure is returned as its exception."""
    async with asyncio.timeout(TIMEOUT):
        fetched = await records(lookups(*keys, endpoint=endpoint), caller)
    return list(fetched.values())


def responding(
    *responses: bytes, requests: list[bytes] | None = None
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """Build a handler that sends one response after the other, and then repeats the last one."""
    left = list(responses)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                return
            if requests is not None:
                requests.append(head)
            response = left.pop(0) if len(left) > 1 else left[0]
            if not response:
                return
            writer.write(response)
            await writer.drain()

    return handle


def http(body: bytes, head: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body


async def test_requests_cancelled_at_any_moment_release_their_slots(crm: Remote) -> None:
    async def unhurried(request: Request) -> Response:
        await asyncio.sleep(0.002)
        return await crm.default_handler(request)

    crm.handler = unhurried
    # a host name, so that the resolution is among the cancelled steps
    async with fetcher_of(f"http://localhost:{crm.port}", concurrency=3, timeout=1) as records:
        for steps in [*range(40), *range(40, 400, 20)]:
            fetching_task = asyncio.create_task(records(lookups("1", "2", "3", "4"), CALLER))
            for _ in range(steps):
                await asyncio.sleep(0)
            fetching_task.cancel()
            await asyncio.gather(fetching_task, return_exceptions=True)
        keys = [str(number) for number in range(12)]
        assert await fetch(records, *keys) == [record(key) for key in keys]
        # one of three is kept for another tenant
        assert crm.max_concurrent == 2
        crm.max_concurrent = 0
        await fetch(records, *keys)
    assert crm.max_concurrent == 2


async def test_a_timed_out_request_releases_its_slots(crm: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(request: Request) -> Response:
        await asyncio.sleep(0.1)
        return await crm.default_handler(request)

    crm.handler = slow
    async with fetcher_of(crm.address, concurrency=2, timeout=1) as records:
        with monkeypatch.context() as patch:
            patch.setattr(fetching, "TOTAL_TIMEOUT", 0.01)
            for _ in range(4):
                assert {type(it) for it in await fetch(records, "1", "2", "3")} == {Unavailable}
        assert len(crm.targets) <= 2
        crm.handler = crm.default_handler
        assert await fetch(records, "1", "2", "3") == [record("1"), record("2"), record("3")]


async def test_close_cancels_running_requests(crm: Remote) -> None:
    crm.handler = forever
    records = fetcher(Service(address=crm.address, timeout=10))
    fetching_task = asyncio.create_task(records(lookups("1"), CALLER))
    async with asyncio.timeout(TIMEOUT):
        while not crm.targets:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        fetching_task.cancel()
        await records.close()
    assert [it for it in asyncio.all_tasks() if "_fetch" in repr(it.get_coro())] == []


async def forever(request: Request) -> Response:
    while not await request.is_disconnected():  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    return Response()


@pytest.mark.parametrize("location", [b"http://[::1", b"//", b"http://\xff\xfe/", b"http://a:b/", b"\t", b"x" * 70_000])
async def test_the_location_of_a_redirect_is_never_parsed(location: bytes) -> None:
    requests: list[bytes] = []
    handle = responding(http(b"", b"HTTP/1.1 302 Found\r\nLocation: " + location), requests=requests)
    async with raw_server(handle) as port, fetcher_of(f"http://127.0.0.1:{port}") as records:
        (failure,) = await fetch(records, "1")
    assert str(failure) == "The service crm redirects, and redirects are not followed."
    assert len(requests) == 1


async def test_bytes_after_a_response_are_not_the_next_response() -> None:
    surplus = http(b'{"of": "another request"}')
    handle = responding(http(b'{"n": 1}') + surplus, http(b'{"n": 2}'))
    async with raw_server(handle) as port, fetcher_of(f"http://127.0.0.1:{port}", concurrency=1) as records:
        assert await fetch(records, "1") == [{"n": 1}]
        assert await fetch(records, "2") == [{"n": 2}]


async def test_a_request_has_exactly_the_expected_headers() -> None:
    requests: list[bytes] = []
    handle = responding(http(b"{}", b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b"), requests=requests)
    async with raw_server(handle) as port, fetcher_of(f"http://127.0.0.1:{port}", headers={"X-Api-Key": "hush"}) as records:
        await fetch(records, "1")
        await fetch(records, "1")
    assert requests[0] == requests[1]
    request, *headers = requests[0].decode().removesuffix("\r\n\r\n").split("\r\n")
    assert request == "GET /customers?id=1 HTTP/1.1"
    assert sorted(it.lower() for it in headers) == [
        "accept-encoding: identity",
        "accept: application/json",
        "connection: close",
        f"host: 127.0.0.1:{port}",
        "user-agent: headwater",
        "x-api-key: hush",
        "x-request-id: r-1",
    ]


@pytest.mark.parametrize("authorization", ["Bearer tok3n ", "Bearer tok3n\t", " \tBearer tok3n \t "])
async def test_blanks_around_the_authorization_are_removed(crm: Remote, authorization: str) -> None:
    async with fetcher_of(crm.address, authorization=True) as records:
        assert await fetch(records, "1", caller=Caller("r", "default", 1, "key", authorization)) == [record("1")]
    assert crm.headers[0]["authorization"] == "Bearer tok3n"


@pytest.mark.parametrize(
    "authorization", ["tok3n\x00", "tok3n\r\nX: y", "tok3n\x0b", "a\x0ctok3n", "tok3n\x7f", "tok3n\u20ac", "\ud800tok3n"]
)
async def test_an_authorization_with_invalid_characters_is_neither_sent_nor_logged(crm: Remote, authorization: str) -> None:
    async with fetcher_of(crm.address, authorization=True) as records:
        with structlog.testing.capture_logs() as logs:
            (failure,) = await fetch(records, "1", caller=Caller("r", "default", 1, "key", authorization))
    assert isinstance(failure, Unavailable)
    assert crm.targets == []
    assert "tok3n" not in f"{logs} {failure!r}"


async def test_an_authorization_of_blanks_is_not_sent(crm: Remote) -> None:
    async with fetcher_of(crm.address, authorization=True) as records:
        await fetch(records, "1", caller=Caller("r", "default", 1, "key", " \t"))
    assert "authorization" not in crm.headers[0]


async def test_credentials_that_a_service_echoes_are_not_logged() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readuntil(b"\r\n\r\n"))
        await writer.drain()

    caller = Caller("r", "default", 1, "key", "Bearer tok3n")
    for handle in (echo, responding(b"HTTP/1.1 200 tok3n\r\ntok3n\r\n\r\n"), responding(http(b"tok3n"))):
        async with raw_server(handle) as port, fetcher_of(f"http://127.0.0.1:{port}", authorization=True) as records:
            with structlog.testing.capture_logs() as logs:
                (failure,) = await fetch(records, "1", caller=caller)
        assert isinstance(failure, Unavailable)
        assert [it["event"] for it in logs] == ["record fetch failed"]
        assert logs[0]["cause"]
        assert "tok3n" not in f"{logs} {failure!r}"


async def test_a_malformed_or_incomplete_response_is_not_retried() -> None:
    for response in (b"hello\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"HTTP/1.1 2"):
        requests: list[bytes] = []
        async with (
            raw_server(responding(response, b"", requests=requests)) as port,
            fetcher_of(f"http://127.0.0.1:{port}") as records,
        ):
            (failure,) = await fetch(records, "1")
        assert (type(failure), len(requests)) == (Unavailable, 1)


def large_objects() -> int:
    """Count the byte and text objects of about a megabyte that are referenced."""
    gc.collect()
    referenced = {
        id(it): it for holder in gc.get_objects() for it in gc.get_referents(holder) if isinstance(it, bytes | bytearray | str)
    }
    return sum(len(it) > 900_000 for it in referenced.values())


async def test_an_unusable_response_is_not_kept_in_memory(crm: Remote) -> None:
    text = b'"' + b"x" * 950_000 + b'"'
    contents = [text[1:], b'{"a": ' + b"[" * 300 + b"]" * 300 + b', "b": ' + text + b"}", text]

    async def garbage(request: Request) -> Response:
        return Response(contents[int(request.query_params["id"]) % len(contents)])

    crm.handler = garbage
    async with fetcher_of(crm.address) as records:
        before = large_objects()

        async def no_more_than_before() -> bool:
            return large_objects() <= before

        fetched = await records(lookups(*map(str, range(20))), CALLER)
        # the service that answered releases its response when it was sent
        await wait_until(no_more_than_before)
    assert {type(it) for it in fetched.values()} == {Unavailable}
    assert {(it.__traceback__, it.__cause__, it.__context__) for it in fetched.values()} == {(None, None, None)}


async def test_unusable_responses_count_towards_the_byte_limit(crm: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "MAX_TOTAL_BYTES", 3_500_000)

    async def garbage(_: Request) -> Response:
        return Response(b"x" * 1_000_000)

    crm.handler = garbage
    async with fetcher_of(crm.address, concurrency=1) as records:
        fetched = await fetch(records, *map(str, range(20)))
    assert [type(it) for it in fetched] == [Unavailable] * 3 + [LimitExceeded] * 17
    assert len(crm.targets) == 4


@pytest.mark.parametrize("key", ["1/secret", "1\\secret", "1%2Fsecret", "1%5csecret", "1%252Fsecret", "/", "1/"])
async def test_a_key_with_a_slash_is_not_found_in_a_path(crm: Remote, key: str) -> None:
    async with fetcher_of(crm.address) as records:
        (failure,) = await fetch(records, key, endpoint="/customers/{key}")
        assert (type(failure), crm.targets) == (NotFound, [])
        assert await fetch(records, key) == [record(key)]


async def test_a_large_response_is_parsed_in_a_thread(crm: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    in_threads: list[int] = []
    to_thread = asyncio.to_thread

    async def counted(function: Any, *arguments: Any) -> Any:
        in_threads.append(len(arguments[0]))
        return await to_thread(function, *arguments)

    monkeypatch.setattr(asyncio, "to_thread", counted)
    sizes = {"1": 1_000, "2": 200_000}

    async def sized(request: Request) -> Response:
        return JSONResponse({"text": "x" * sizes[request.query_params["id"]]})

    crm.handler = sized
    async with fetcher_of(crm.address) as records:
        assert [len(it["text"]) for it in await fetch(records, "1", "2")] == [1_000, 200_000]
    assert in_threads == [len(json.dumps({"text": "x" * 200_000}, separators=(",", ":")))]


async def test_a_failure_to_create_the_fetcher_leaves_no_database_open(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def broken(*_: Any) -> RecordFetcher:
        raise OSError("no certificates")

    monkeypatch.setattr(application, "RecordFetcher", broken)
    monkeypatch.setattr(application, "Database", lambda address, **_: opened.append(address))
    app = application.create_app(Settings(database_url="postgresql://there"), require_auth=False)
    with pytest.raises(OSError, match="no certificates"):
        async with app.router.lifespan_context(app):
            pass
    assert opened == []

"""What fetches records, without the rest: what a service does wrong stays with the one request, and nothing of it is kept."""

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
from graph_api.settings import Settings
from schema.execution.external_record import Caller, Lookup
from tests.graph_api.records.remote import PATIENCE, Remote, raw, record, remote

NOBODY = Caller("r-1")


@pytest.fixture
async def crm() -> AsyncIterator[Remote]:
    async with remote() as service:
        yield service


@asynccontextmanager
async def fetching_from(address: str, **options: Any) -> AsyncIterator[RecordFetcher]:
    records = RecordFetcher({"crm": Service(address=address, **options)})
    try:
        yield records
    finally:
        await records.close()


def lookups(*keys: str, endpoint: str = "/customers") -> dict[Lookup, int]:
    return {Lookup("crm", endpoint, "id", key): 1 for key in keys}


async def fetch(records: RecordFetcher, *keys: str, caller: Caller = NOBODY, endpoint: str = "/customers") -> list[Any]:
    """What there is of each key; of a failure its kind and message."""
    async with asyncio.timeout(PATIENCE):
        found = await records(lookups(*keys, endpoint=endpoint), caller)
    return list(found.values())


def answering(
    *answers: bytes, told: list[bytes] | None = None
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """Gives one answer after the other, the last again and again, as long as somebody asks on the connection."""
    left = list(answers)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                return
            if told is not None:
                told.append(head)
            answer = left.pop(0) if len(left) > 1 else left[0]
            if not answer:
                return
            writer.write(answer)
            await writer.drain()

    return handle


def http(body: bytes, head: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body


async def test_requests_given_up_at_any_moment_cost_no_turn(crm: Remote) -> None:
    async def unhurried(request: Request) -> Response:
        await asyncio.sleep(0.002)
        return await crm.fine(request)

    crm.answer = unhurried
    # by name, so that there is a moment at which it is looked up too
    async with fetching_from(f"http://localhost:{crm.port}", concurrency=3, timeout=1) as records:
        for turns in [*range(40), *range(40, 400, 20)]:
            asking = asyncio.create_task(records(lookups("1", "2", "3", "4"), NOBODY))
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        keys = [str(number) for number in range(12)]
        assert await fetch(records, *keys) == [record(key) for key in keys]
        assert crm.most_at_once == 3
        crm.most_at_once = 0
        await fetch(records, *keys)
    assert crm.most_at_once == 3


async def test_a_request_that_ran_out_of_patience_costs_no_turn(crm: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(request: Request) -> Response:
        await asyncio.sleep(0.1)
        return await crm.fine(request)

    crm.answer = slow
    async with fetching_from(crm.address, concurrency=2, timeout=1) as records:
        with monkeypatch.context() as patch:
            patch.setattr(fetching, "TOTAL_TIMEOUT", 0.01)
            for _ in range(4):
                assert {type(it) for it in await fetch(records, "1", "2", "3")} == {Unavailable}
        assert len(crm.targets) <= 2
        crm.answer = crm.fine
        assert await fetch(records, "1", "2", "3") == [record("1"), record("2"), record("3")]


async def test_who_closes_ends_what_is_under_way(crm: Remote) -> None:
    crm.answer = forever
    records = RecordFetcher({"crm": Service(address=crm.address, timeout=10)})
    asking = asyncio.create_task(records(lookups("1"), NOBODY))
    async with asyncio.timeout(PATIENCE):
        while not crm.targets:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        asking.cancel()
        await records.close()
    assert [it for it in asyncio.all_tasks() if "_fetch" in repr(it.get_coro())] == []


async def forever(request: Request) -> Response:
    while not await request.is_disconnected():  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    return Response()


@pytest.mark.parametrize("location", [b"http://[::1", b"//", b"http://\xff\xfe/", b"http://a:b/", b"\t", b"x" * 70_000])
async def test_wherever_a_redirect_leads_it_is_read_by_nobody(location: bytes) -> None:
    told: list[bytes] = []
    handle = answering(http(b"", b"HTTP/1.1 302 Found\r\nLocation: " + location), told=told)
    async with raw(handle) as port, fetching_from(f"http://127.0.0.1:{port}") as records:
        (failure,) = await fetch(records, "1")
    assert str(failure) == "The service crm redirects, and redirects are not followed."
    assert len(told) == 1


async def test_what_comes_after_an_answer_is_no_answer_to_the_next_request() -> None:
    surplus = http(b'{"of": "somebody else"}')
    handle = answering(http(b'{"n": 1}') + surplus, http(b'{"n": 2}'))
    async with raw(handle) as port, fetching_from(f"http://127.0.0.1:{port}", concurrency=1) as records:
        assert await fetch(records, "1") == [{"n": 1}]
        assert await fetch(records, "2") == [{"n": 2}]


async def test_a_request_has_no_headers_but_those_that_are_meant() -> None:
    told: list[bytes] = []
    handle = answering(http(b"{}", b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b"), told=told)
    async with raw(handle) as port, fetching_from(f"http://127.0.0.1:{port}", headers={"X-Api-Key": "hush"}) as records:
        await fetch(records, "1")
        await fetch(records, "1")
    assert told[0] == told[1]
    request, *headers = told[0].decode().removesuffix("\r\n\r\n").split("\r\n")
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


@pytest.mark.parametrize("sent", ["Bearer tok3n ", "Bearer tok3n\t", " \tBearer tok3n \t "])
async def test_blanks_around_what_a_caller_is_known_by_are_none_of_it(crm: Remote, sent: str) -> None:
    async with fetching_from(crm.address, authorization=True) as records:
        assert await fetch(records, "1", caller=Caller("r", sent)) == [record("1")]
    assert crm.headers[0]["authorization"] == "Bearer tok3n"


@pytest.mark.parametrize(
    "sent", ["tok3n\x00", "tok3n\r\nX: y", "tok3n\x0b", "a\x0ctok3n", "tok3n\x7f", "tok3n\u20ac", "\ud800tok3n"]
)
async def test_what_no_header_can_hold_is_told_nobody_and_not_logged(crm: Remote, sent: str) -> None:
    async with fetching_from(crm.address, authorization=True) as records:
        with structlog.testing.capture_logs() as logged:
            (failure,) = await fetch(records, "1", caller=Caller("r", sent))
    assert isinstance(failure, Unavailable)
    assert crm.targets == []
    assert "tok3n" not in f"{logged} {failure!r}"


async def test_blanks_alone_are_nobody(crm: Remote) -> None:
    async with fetching_from(crm.address, authorization=True) as records:
        await fetch(records, "1", caller=Caller("r", " \t"))
    assert "authorization" not in crm.headers[0]


async def test_what_a_service_repeats_of_a_request_is_not_logged() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readuntil(b"\r\n\r\n"))
        await writer.drain()

    caller = Caller("r", "Bearer tok3n")
    for mangled in (echo, answering(b"HTTP/1.1 200 tok3n\r\ntok3n\r\n\r\n"), answering(http(b"tok3n"))):
        async with raw(mangled) as port, fetching_from(f"http://127.0.0.1:{port}", authorization=True) as records:
            with structlog.testing.capture_logs() as logged:
                (failure,) = await fetch(records, "1", caller=caller)
        assert isinstance(failure, Unavailable)
        assert [it["event"] for it in logged] == ["record fetch failed"]
        assert logged[0]["cause"]
        assert "tok3n" not in f"{logged} {failure!r}"


async def test_a_malformed_answer_is_not_asked_for_again_nor_one_that_has_begun() -> None:
    for answer in (b"hello\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"HTTP/1.1 2"):
        told: list[bytes] = []
        async with raw(answering(answer, b"", told=told)) as port, fetching_from(f"http://127.0.0.1:{port}") as records:
            (failure,) = await fetch(records, "1")
        assert (type(failure), len(told)) == (Unavailable, 1)


def big() -> int:
    """How many contents of a megabyte are held by anything."""
    gc.collect()
    held = {
        id(it): it for holder in gc.get_objects() for it in gc.get_referents(holder) if isinstance(it, bytes | bytearray | str)
    }
    return sum(len(it) > 900_000 for it in held.values())


async def test_nothing_of_what_could_not_be_read_is_kept(crm: Remote) -> None:
    text = b'"' + b"x" * 950_000 + b'"'
    contents = [text[1:], b'{"a": ' + b"[" * 300 + b"]" * 300 + b', "b": ' + text + b"}", text]

    async def garbage(request: Request) -> Response:
        return Response(contents[int(request.query_params["id"]) % len(contents)])

    crm.answer = garbage
    async with fetching_from(crm.address) as records:
        before = big()
        found = await records(lookups(*map(str, range(20))), NOBODY)
        held = big()
    assert {type(it) for it in found.values()} == {Unavailable}
    assert held <= before
    assert {(it.__traceback__, it.__cause__, it.__context__) for it in found.values()} == {(None, None, None)}


async def test_what_could_not_be_read_counts_too(crm: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "MAX_TOTAL_BYTES", 3_500_000)

    async def garbage(_: Request) -> Response:
        return Response(b"x" * 1_000_000)

    crm.answer = garbage
    async with fetching_from(crm.address, concurrency=1) as records:
        found = await fetch(records, *map(str, range(20)))
    assert [type(it) for it in found] == [Unavailable] * 3 + [LimitExceeded] * 17
    assert len(crm.targets) == 4


@pytest.mark.parametrize("key", ["1/secret", "1\\secret", "1%2Fsecret", "1%5csecret", "1%252Fsecret", "/", "1/"])
async def test_a_key_that_would_name_what_is_below_names_no_record(crm: Remote, key: str) -> None:
    async with fetching_from(crm.address) as records:
        (failure,) = await fetch(records, key, endpoint="/customers/{key}")
        assert (type(failure), crm.targets) == (NotFound, [])
        assert await fetch(records, key) == [record(key)]


async def test_a_large_answer_is_read_beside_the_event_loop(crm: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    beside: list[int] = []
    to_thread = asyncio.to_thread

    async def counted(function: Any, *given: Any) -> Any:
        beside.append(len(given[0]))
        return await to_thread(function, *given)

    monkeypatch.setattr(asyncio, "to_thread", counted)
    sizes = {"1": 1_000, "2": 200_000}

    async def sized(request: Request) -> Response:
        return JSONResponse({"text": "x" * sizes[request.query_params["id"]]})

    crm.answer = sized
    async with fetching_from(crm.address) as records:
        assert [len(it["text"]) for it in await fetch(records, "1", "2")] == [1_000, 200_000]
    assert beside == [len(json.dumps({"text": "x" * 200_000}, separators=(",", ":")))]


async def test_where_what_fetches_cannot_be_made_no_database_is_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def broken(_: Any) -> RecordFetcher:
        raise OSError("no certificates")

    monkeypatch.setattr(application, "RecordFetcher", broken)
    monkeypatch.setattr(application, "Database", lambda address, **_: opened.append(address))
    app = application.create_app(Settings(database_url="postgresql://there"), require_auth=False)
    with pytest.raises(OSError, match="no certificates"):
        async with app.router.lifespan_context(app):
            pass
    assert opened == []

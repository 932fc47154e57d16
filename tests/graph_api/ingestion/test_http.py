"""POST /api/v1/ingest over a real socket: lines are loaded as they come, and whoever sends them is told what became of them."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from graph_api.ingestion import source
from graph_api.ingestion.http import MEDIA_TYPES
from graph_api.ingestion.jsonl import LINE_LENGTH
from graph_api.ingestion.progress import NAMED
from tests.graph_api.commands.test_ingest_csv import World, queued
from tests.graph_api.commands.test_ingest_jsonl import A, B, Base, a_link, a_product, base_on, in_lines
from tests.graph_api.commands.test_process import awaited
from tests.graph_api.http.test_disconnect import PATIENCE, Service, locked
from tests.graph_api.ingestion.random_histories import Story

pytestmark = pytest.mark.api

LINES = {"Content-Type": MEDIA_TYPES[0]}


class Loading(Service):
    """A service to load lines into."""

    def __init__(self, address: str, **settings: Any) -> None:
        super().__init__(address, **settings)
        self._address = address

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v1/ingest"

    async def post(self, content: Any, headers: dict[str, str] = LINES, **parameters: str) -> tuple[int, dict[str, Any]]:
        async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as client:
            response = await client.post(self.url, content=content, headers=headers, params=parameters)
        body = response.json()
        assert body.pop("extensions") == {"requestId": response.headers["X-Request-ID"]}
        return response.status_code, body

    async def kept(self) -> int:
        connection = await asyncpg.connect(self._address)
        try:
            return int(await connection.fetchval("SELECT count(*) FROM change"))
        finally:
            await connection.close()

    async def keeping(self, number: int) -> None:
        async def kept() -> bool:
            return await self.kept() == number

        await awaited(kept)

    async def idle(self) -> None:
        """Wait until no load is at work."""
        pool = self.app.state.database.engine.pool

        async def none() -> bool:
            return not pool.checkedout()

        await awaited(none)

    @asynccontextmanager
    async def sending(self, length: int) -> AsyncIterator[asyncio.StreamWriter]:
        """A client that sends a body of that length, and goes away at the end of the block whether it has or not."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        headers = f"Host: 127.0.0.1\r\nContent-Type: {MEDIA_TYPES[0]}\r\nContent-Length: {length}\r\n"
        writer.write(f"POST /api/v1/ingest HTTP/1.1\r\n{headers}\r\n".encode())
        try:
            yield writer
        finally:
            writer.transport.abort()


@pytest.fixture
async def service(address: str) -> AsyncIterator[Loading]:
    service = Loading(address)
    async with service:
        yield service


def products(count: int) -> list[dict[str, Any]]:
    return [a_product(UUID(int=1_000 + number), f"p{number}", 0) for number in range(count)]


def summary(*counts: int, faults: list[Any] | None = None) -> dict[str, Any]:
    names = ("created", "updated", "unchanged", "rejected")
    return {**dict(zip(names, counts, strict=True)), "rows": sum(counts), "faults": faults or []}


async def test_what_is_sent_is_loaded_as_the_command_would(service: Loading, address: str, server: str) -> None:
    told = Story(Random(3)).tell(60)
    assert (await service.post(in_lines(told)))[1]["rejected"] == 0
    status, body = await service.post(in_lines(told), {"Content-Type": f"{MEDIA_TYPES[1].upper()}; charset=utf-8"})
    assert (status, body) == (200, summary(0, 0, len(told), 0))
    async with base_on(server) as clean:
        await clean.load(told)
        assert await clean.state() == await Base(address, service.app.state.database).state()


async def test_the_example_in_the_documentation_goes_as_the_page_says(service: Loading, address: str, tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs/operations.md").read_text()
    example = re.search(
        r"\$ cat shop\.jsonl\n(.*?)\$ headwater (ingest jsonl) shop\.jsonl\n(.*?)\n.*?\$ headwater (export .*?)\n(.*?)```",
        page,
        re.DOTALL,
    )
    posted = re.search(r"\?on_error=skip\"\n(.*?)\n", page)
    assert example
    assert posted
    content, ingest, loaded, export, exported = example.groups()
    file = tmp_path / "shop.jsonl"
    file.write_text(content)
    connection = await asyncpg.connect(address)
    try:
        world = World(address, tmp_path, connection)
        assert (await world.run(*ingest.split(), file)).out.lines[0] == loaded
        told = await world.run(*export.split())
        assert [*told.out.lines, *told.err.lines] == exported.splitlines()
    finally:
        await connection.close()
    expected = json.loads(posted[1])
    del expected["extensions"]
    assert await service.post(content.encode(), on_error="skip") == (200, expected)


async def test_lines_are_written_while_others_are_still_to_come(service: Loading, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "BATCH", 10)

    async def pieces() -> AsyncIterator[bytes]:
        content = in_lines(products(25))
        middle = content.index(b"\n", len(content) // 2) + 20
        yield content[:middle]
        await service.keeping(10)
        yield content[middle:]

    assert await service.post(pieces()) == (200, summary(25, 0, 0, 0))


async def test_a_client_is_slowed_down_to_what_the_database_takes_in(
    service: Loading, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "BATCH", 10)
    line = json.dumps(a_product(A, "a", 0, description="x" * 10_000)).encode() + b"\n"
    sent = 0

    async def flood(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while True:
            writer.write(line)
            await asyncio.wait_for(writer.drain(), 0.5)
            sent += len(line)

    async with locked(address, "product_version"), service.sending(2**40) as writer:
        with pytest.raises(TimeoutError):
            await flood(writer)
    # two batches, and what sockets hold
    assert sent < 32 * 1024 * 1024
    await service.idle()


async def test_a_client_that_goes_away_amid_its_body_ends_the_load_when_the_batch_is_kept(
    service: Loading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "BATCH", 10)
    content = in_lines(products(15))
    async with service.sending(2 * len(content)) as writer:
        writer.write(content)
        await service.keeping(10)
    await service.idle()
    assert await service.kept() == 10
    assert await service.post(in_lines(products(15))) == (200, summary(5, 0, 10, 0))


async def test_a_client_that_goes_away_after_its_body_ends_the_load_when_the_batch_is_kept(
    service: Loading, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "BATCH", 10)
    content = in_lines(products(15))
    async with locked(address, "product_version"), service.sending(len(content)) as writer:
        writer.write(content)
        await awaited(lambda: queued(address))
        # the batch waits for us still, and is kept all the same
    await service.keeping(10)
    await service.idle()
    assert await service.kept() == 10


async def test_a_bad_line_ends_the_load_and_the_answer_says_what_was_kept(
    service: Loading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "BATCH", 10)
    content = in_lines(products(12)) + b'{"kind": \n' + in_lines(products(20))
    status, body = await service.post(content)
    (fault,) = body.pop("faults")
    assert (status, body) == (400, {key: value for key, value in summary(10, 0, 0, 1).items() if key != "faults"})
    assert (fault["line"], fault["field"], fault["code"]) == (13, None, "BAD_INPUT")
    assert fault["message"].startswith("The line is no JSON")
    assert await service.kept() == 10


async def test_bad_lines_are_skipped_if_that_is_asked_for_and_the_first_of_them_are_named(service: Loading) -> None:
    long = b'{"kind": "' + b"x" * LINE_LENGTH + b'"}\n'
    content = long + in_lines([a_link(A, B, 0), *products(3), *([{"kind": "x"}] * (NAMED + 50))])
    status, body = await service.post(content, on_error="skip")
    assert (status, body["created"], body["rejected"], len(body["faults"])) == (200, 3, NAMED + 52, NAMED)
    assert body["faults"][0] == {
        "line": 1,
        "field": None,
        "message": f"The line is longer than {LINE_LENGTH} bytes.",
        "code": "BAD_INPUT",
    }
    assert await service.post(b"", on_error="skip") == (200, summary(0, 0, 0, 0))


async def test_a_dry_run_counts_and_keeps_nothing(service: Loading) -> None:
    assert await service.post(in_lines(products(3)), dry_run="true") == (200, summary(3, 0, 0, 0))
    assert await service.kept() == 0


@pytest.mark.parametrize(
    ("headers", "parameters", "status", "field"),
    [
        ({"Content-Type": "application/json"}, {}, 415, None),
        # a page elsewhere can have a browser send this without asking
        ({"Content-Type": "text/plain"}, {}, 415, None),
        ({}, {}, 415, None),
        ({**LINES, "Content-Encoding": "gzip"}, {}, 415, None),
        (LINES, {"on_error": "ignore"}, 400, "on_error"),
        (LINES, {"dry_run": "1"}, 400, "dry_run"),
        (LINES, {"onError": "skip"}, 400, "onError"),
    ],
)
async def test_what_cannot_be_meant_is_refused_before_anything_is_read(
    service: Loading, headers: dict[str, str], parameters: dict[str, str], status: int, field: str | None
) -> None:
    answered, body = await service.post(in_lines(products(1)), headers, **parameters)
    (error,) = body["errors"]
    assert (answered, error["extensions"]["code"], error["extensions"].get("field")) == (status, "BAD_INPUT", field)
    assert await service.kept() == 0


async def test_a_database_that_fails_is_said_beside_what_was_kept(service: Loading, address: str) -> None:
    owner = await asyncpg.connect(address)
    try:
        await owner.execute("ALTER TABLE asset_lifetime RENAME TO away")
        status, body = await service.post(in_lines(products(1)))
    finally:
        await owner.close()
    (error,) = body.pop("errors")
    assert (status, error["extensions"]["code"], body) == (503, "UNAVAILABLE", summary(0, 0, 0, 0))

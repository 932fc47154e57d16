"""POST /api/v1/ingest over a real socket: lines are loaded as they are received, and the response counts them."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import asyncpg
import pytest

from graph_api.ingestion import source
from graph_api.ingestion.http import MEDIA_TYPES
from graph_api.ingestion.jsonl import LINE_LENGTH
from graph_api.ingestion.progress import NAMED
from tests.commands import Commands
from tests.graph_api.commands.workspace import waits_for_lock
from tests.graph_api.http.test_disconnect import locked
from tests.graph_api.ingestion.lines import A, B, link_line, product_line, product_lines, to_jsonl
from tests.graph_api.ingestion.load_service import LINES, LoadService, summary
from tests.graph_api.ingestion.load_target import LoadTarget, load_target
from tests.graph_api.ingestion.random_histories import random_history
from tests.processes import wait_until

pytestmark = pytest.mark.api

ROOT = Path(__file__).parents[3]


@pytest.fixture
async def service(address: str) -> AsyncIterator[LoadService]:
    async with LoadService(address) as service:
        yield service


async def test_a_load_by_http_ends_in_the_state_of_a_load_by_the_command(service: LoadService, address: str, server: str) -> None:
    history = random_history(Random(3), 60)
    assert (await service.post(to_jsonl(history)))[1]["rejected"] == 0
    status, body = await service.post(to_jsonl(history), {"Content-Type": f"{MEDIA_TYPES[1].upper()}; charset=utf-8"})
    assert (status, body) == (200, summary(0, 0, len(history), 0))
    async with load_target(server) as target:
        await target.load(history)
        assert await target.state() == await LoadTarget(address, service.app.state.database).state()


async def test_the_examples_of_the_documentation_give_the_documented_output(
    service: LoadService, address: str, tmp_path: Path
) -> None:
    page = (ROOT / "docs/operations.md").read_text()
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
    commands = Commands(address, tmp_path)
    assert (await commands(*ingest.split(), file))[0] == loaded
    result = await commands.run_process(*export.split())
    assert [*result.out, *result.err] == exported.splitlines()
    expected = json.loads(posted[1])
    del expected["extensions"]
    assert await service.post(content.encode(), on_error="skip") == (200, expected)


async def test_the_first_lines_are_written_before_the_last_are_received(
    service: LoadService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "BATCH", 10)

    async def pieces() -> AsyncIterator[bytes]:
        content = to_jsonl(product_lines(25))
        middle = content.index(b"\n", len(content) // 2) + 20
        yield content[:middle]
        await service.wait_for_changes(10)
        yield content[middle:]

    assert await service.post(pieces()) == (200, summary(25, 0, 0, 0))


async def test_a_client_cannot_send_faster_than_the_database_writes(
    service: LoadService, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "BATCH", 10)
    line = json.dumps(product_line(A, "a", 0, description="x" * 10_000)).encode() + b"\n"
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
    # two batches, and the buffers of the sockets
    assert sent < 32 * 1024 * 1024
    await service.wait_until_idle()


async def test_a_client_that_disconnects_within_its_body_stops_the_load_after_the_batch(
    service: LoadService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "BATCH", 10)
    content = to_jsonl(product_lines(15))
    async with service.sending(2 * len(content)) as writer:
        writer.write(content)
        await service.wait_for_changes(10)
    await service.wait_until_idle()
    assert await service.count_changes() == 10
    assert await service.post(to_jsonl(product_lines(15))) == (200, summary(5, 0, 10, 0))


async def test_a_client_that_disconnects_after_its_body_stops_the_load_after_the_batch(
    service: LoadService, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "BATCH", 10)
    content = to_jsonl(product_lines(15))
    async with locked(address, "product_version"), service.sending(len(content)) as writer:
        writer.write(content)
        await wait_until(lambda: waits_for_lock(address))
    # The batch that waited for the lock is kept.
    await service.wait_for_changes(10)
    await service.wait_until_idle()
    assert await service.count_changes() == 10


async def test_a_bad_line_stops_the_load_and_the_response_counts_what_is_kept(
    service: LoadService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "BATCH", 10)
    content = to_jsonl(product_lines(12)) + b'{"kind": \n' + to_jsonl(product_lines(20))
    status, body = await service.post(content)
    (fault,) = body.pop("faults")
    assert (status, body) == (400, {key: value for key, value in summary(10, 0, 0, 1).items() if key != "faults"})
    assert (fault["line"], fault["field"], fault["code"]) == (13, None, "BAD_INPUT")
    assert fault["message"].startswith("The line is not JSON")
    assert await service.count_changes() == 10


async def test_bad_lines_are_skipped_on_request_and_the_first_are_named(service: LoadService) -> None:
    long = b'{"kind": "' + b"x" * LINE_LENGTH + b'"}\n'
    content = long + to_jsonl([link_line(A, B, 0), *product_lines(3), *([{"kind": "x"}] * (NAMED + 50))])
    status, body = await service.post(content, on_error="skip")
    assert (status, body["created"], body["rejected"], len(body["faults"])) == (200, 3, NAMED + 52, NAMED)
    assert body["faults"][0] == {
        "line": 1,
        "field": None,
        "message": f"The line is longer than {LINE_LENGTH} bytes.",
        "code": "BAD_INPUT",
    }
    assert await service.post(b"", on_error="skip") == (200, summary(0, 0, 0, 0))


async def test_a_dry_run_counts_and_keeps_nothing(service: LoadService) -> None:
    assert await service.post(to_jsonl(product_lines(3)), dry_run="true") == (200, summary(3, 0, 0, 0))
    assert await service.count_changes() == 0


@pytest.mark.parametrize(
    ("headers", "parameters", "status", "field"),
    [
        ({"Content-Type": "application/json"}, {}, 415, None),
        # A browser sends this for a page of another origin without a preflight request.
        ({"Content-Type": "text/plain"}, {}, 415, None),
        ({}, {}, 415, None),
        ({**LINES, "Content-Encoding": "gzip"}, {}, 415, None),
        (LINES, {"on_error": "ignore"}, 400, "on_error"),
        (LINES, {"dry_run": "1"}, 400, "dry_run"),
        (LINES, {"onError": "skip"}, 400, "onError"),
    ],
)
async def test_unsupported_headers_and_parameters_are_rejected_before_the_body_is_read(
    service: LoadService, headers: dict[str, str], parameters: dict[str, str], status: int, field: str | None
) -> None:
    response_status, body = await service.post(to_jsonl(product_lines(1)), headers, **parameters)
    (error,) = body["errors"]
    assert (response_status, error["extensions"]["code"], error["extensions"].get("field")) == (status, "BAD_INPUT", field)
    assert await service.count_changes() == 0


async def test_the_response_to_a_failure_of_the_database_counts_what_is_kept(service: LoadService, address: str) -> None:
    owner = await asyncpg.connect(address)
    try:
        await owner.execute("ALTER TABLE asset_lifetime RENAME TO away")
        status, body = await service.post(to_jsonl(product_lines(1)))
    finally:
        await owner.close()
    (error,) = body.pop("errors")
    assert (status, error["extensions"]["code"], body) == (503, "UNAVAILABLE", summary(0, 0, 0, 0))

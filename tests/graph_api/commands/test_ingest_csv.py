"""`headwater ingest csv`: what is kept, what is reported, and what is left when the load is stopped, killed or repeated."""

import asyncio
import csv
import io
import json
import os
import pty
import re
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import asyncpg
import pytest
from rich.console import Console

from db.assets import product
from db.assets.entity_key import entity_uid_by_key
from db.author import Author
from db.bulk.ingest import BATCH
from db.database import Database
from graph_api.ingestion import source
from graph_api.ingestion.entity_csv import EntityFile
from graph_api.ingestion.loading import Load
from graph_api.ingestion.on_error import OnError
from graph_api.ingestion.progress import NAMED, Progress, Rejects, describe
from graph_api.ingestion.row import RowError
from graph_api.ingestion.uids import entity_uid
from tests.builders import day, iso, product_fields
from tests.databases import temporary_database
from tests.graph_api.commands.workspace import (
    COUNTS,
    KEYLESS_COLUMNS,
    TYPES,
    Workspace,
    counts_in,
    messages_in,
    to_csv,
    waits_for_lock,
    workspace_on,
)
from tests.hooks import ErrorHook
from tests.processes import COMMAND, wait_until
from tests.randomness import size

HEADER = ",".join(KEYLESS_COLUMNS) + "\n"
PRODUCT = UUID("00000000-0000-4000-8000-00000000000b")
# Seconds that a load of several batches may take.
LOAD_PATIENCE = 120

# Everything about each entity but what distinguishes one load from another.
HISTORY = """
  SELECT a.uid, a.kind, a.type, 'change' AS part, c.change_ts AS since, NULL AS until,
    c.operation || c.payload || c.changed || c.actor AS content
  FROM asset a JOIN change c ON c.subject_id = a.id
  UNION ALL
  SELECT a.uid, a.kind, a.type, 'version', v.valid_from, v.valid_to, v.display_name || v.details || v.digest || v.created_at
  FROM asset a JOIN entity_version v ON v.asset_id = a.id
  UNION ALL
  SELECT a.uid, a.kind, a.type, 'detail ' || d.detail_type, d.valid_from, d.valid_to, d.value
  FROM asset a JOIN entity_detail d ON d.asset_id = a.id
  ORDER BY 1, 4, 5
"""


@pytest.fixture
async def workspace(address: str, tmp_path: Path) -> AsyncIterator[Workspace]:
    async with workspace_on(address, tmp_path, TYPES) as workspace:
        yield workspace


@pytest.fixture
def batch(monkeypatch: pytest.MonkeyPatch) -> int:
    """The number of rows of a batch of the commands in this process, which is small unless this run is a soak."""
    rows = size(quick=100, soak=BATCH)
    monkeypatch.setattr(source, "BATCH", rows)
    return rows


async def history(workspace: Workspace) -> list[asyncpg.Record]:
    return list(await workspace.connection.fetch(HISTORY))


async def current_details(workspace: Workspace) -> dict[str, dict[str, str]]:
    """Return the details of the entities that exist now, by display name."""
    rows = await workspace.connection.fetch(
        "SELECT display_name, details FROM entity_version WHERE valid_to = 'infinity' ORDER BY display_name"
    )
    return {row["display_name"]: json.loads(row["details"]) for row in rows}


def person(number: int, **changes: Any) -> dict[str, Any]:
    details = {"email": f"p{number}@shop.example", "phone": f"+49 30 {number:06}"}
    return {
        "entity_uid": uuid5(PRODUCT, str(number)),
        "display_name": f"Person {number}",
        "entity_type": "PERSON",
        "details": json.dumps([{"detail_type": code, "detail_value": value} for code, value in details.items()]),
        "change_ts": iso(day(0)),
        **changes,
    }


@pytest.mark.api
async def test_a_file_is_loaded_and_the_summary_counts_its_rows(workspace: Workspace) -> None:
    first = await workspace.ingest(workspace.csv([person(1), person(2), person(3)]), "--actor", "ann")
    assert (first.code, counts_in(first), messages_in(first)) == (0, (3, 0, 0, 0), [])
    later = {"change_ts": iso(day(5))}
    second = await workspace.ingest(
        workspace.csv([person(1, display_name="Ann", **later), person(2, **later), person(3), person(4, details="[]")])
    )
    assert (second.code, counts_in(second)) == (0, (1, 1, 2, 0))
    details = await current_details(workspace)
    assert next(iter(details.items())) == ("Ann", {"email": "p1@shop.example", "phone": "+49 30 000001"})
    assert details["Person 4"] == {}
    loads = await workspace.connection.fetch("SELECT actor, count(*), count(DISTINCT request_id) FROM change GROUP BY actor")
    assert ("ann", 3, 1) in [tuple(it) for it in loads]
    assert len(loads) == 2
    await workspace.verify()


async def test_the_documented_example_gives_the_documented_summary(workspace: Workspace) -> None:
    page = (Path(__file__).parents[3] / "docs/operations.md").read_text()
    example = re.search(r"\$ cat people\.csv\n(.*?)\$ headwater ingest csv people\.csv\n(.*?)\n", page, re.DOTALL)
    assert example
    assert (await workspace.ingest(workspace.file(example[1]))).out[0] == example[2]


@pytest.mark.scd2
async def test_a_row_states_the_whole_entity_and_omitted_details_end(workspace: Workspace) -> None:
    phone = '[{"detail_type": "phone", "detail_value": "+49 30 000001"}]'
    rows = [person(1), person(1, details=phone, change_ts=iso(day(2))), person(1, details="", change_ts=iso(day(4)))]
    loaded = await workspace.ingest(workspace.csv(rows))
    assert counts_in(loaded) == (1, 2, 0, 0)
    details = await workspace.connection.fetch("SELECT detail_type, valid_from, valid_to FROM entity_detail ORDER BY 1")
    assert [tuple(it) for it in details] == [("email", day(0), day(2)), ("phone", day(0), day(4))]


@pytest.mark.random
async def test_a_row_without_an_instant_holds_from_the_start_of_the_load_and_one_without_a_uid_derives_it(
    workspace: Workspace, batch: int
) -> None:
    content = "display_name,entity_type\n" + "".join(f"P{number},PERSON\n" for number in range(batch + 1))
    before = await workspace.connection.fetchval("SELECT clock_timestamp()")
    assert counts_in(await workspace.ingest(workspace.file(content))) == (batch + 1, 0, 0, 0)
    instants = await workspace.connection.fetch("SELECT DISTINCT change_ts, recorded_at >= change_ts AS is_past FROM change")
    assert len({it["change_ts"] for it in instants}) == 1
    assert all(it["is_past"] and it["change_ts"] >= before for it in instants)
    assets = await workspace.connection.fetch("SELECT uid FROM asset")
    assert {it["uid"] for it in assets} == {entity_uid("PERSON", f"P{number}") for number in range(batch + 1)}


@pytest.mark.api
async def test_a_byte_order_mark_crlf_and_standard_input_are_accepted(workspace: Workspace) -> None:
    content = to_csv([person(1), person(2)])
    assert "\r\n" in content
    async with workspace.start("ingest", "csv", "-", stdin=asyncio.subprocess.PIPE) as command:
        await command.send_input(content.encode("utf-8-sig"), last=True)
        assert await command.exit_code() == 0
    assert counts_in(command) == (2, 0, 0, 0)
    unix = workspace.file(content.replace("\r\n", "\n"))
    assert counts_in(await workspace.ingest(unix)) == (0, 0, 2, 0)


def row_with(*details: tuple[str, str]) -> bytes:
    """Return the row of a person with these details."""
    items = [{"detail_type": code, "detail_value": value} for code, value in details]
    return to_csv([{"display_name": "Ann", "entity_type": "PERSON", "details": json.dumps(items)}]).splitlines()[1].encode()


BAD: list[tuple[bytes, str | None, str]] = [
    (b",Ann,PERSON", "details", "3 of 5 cells; missing: details, change_ts"),
    (b',Ann,PERSON,"[{""detail_type""}]",', "details", "not JSON"),
    (b",Ann,ROBOT,,", "entity_type", "There is no entity type 'ROBOT'. There are ORDER, PERSON."),
    (row_with(("shoe_size", "42")), "details", "There is no detail type 'shoe_size'. There are email, phone."),
    (row_with(("email", "a@shop.example"), ("email", "b@shop.example")), "details", "two details of the type 'email'"),
    (row_with(("email", "nonsense")), "details", "'nonsense' is not an email address"),
    (b",Ann,PERSON,,2026-01-01T00:00:00", "change_ts", "no UTC offset"),
    (b",Ann,PERSON,,2999-01-01", "change_ts", "change_ts is 2999-01-01T00:00:00"),
    (b",A\xffnn,PERSON,,", "display_name", "the byte 0xFF, which is not UTF-8"),
    (b",Ann\0,PERSON,,", "display_name", "NUL"),
    (b", Ann,PERSON,,", "display_name", "display_name has spaces at an end"),
    (b",,PERSON,,", "display_name", "empty"),
    (b"17,Ann,PERSON,,", "entity_uid", "'17' is not a UUID"),
    (f"{PRODUCT},Ann,PERSON,,".encode(), "entity_uid", f"The uid {PRODUCT} belongs to an asset of another kind (product)."),
    (f"{uuid5(PRODUCT, '1')},Ann,ORDER,,".encode(), "entity_type", "has the type PERSON, not ORDER. A type never changes."),
    (f"{uuid5(PRODUCT, '1')},Ann,PERSON,,2026-01-01".encode(), "change_ts", "two states at"),
    (b',Ann,PERSON,"x"y,', "details", "as a whole"),
]


@pytest.fixture
async def registered_product(workspace: Workspace, database: Database, author: Author) -> None:
    async with database.transaction(1, author) as connection:
        await product.register(connection, product_fields(), uid=PRODUCT)


@pytest.mark.constraints
@pytest.mark.usefixtures("registered_product")
@pytest.mark.parametrize(("row", "column", "reason"), BAD, ids=[repr(row[:50]) for row, _, _ in BAD])
async def test_the_first_bad_row_stops_the_load_and_its_batch_is_rolled_back(
    workspace: Workspace, row: bytes, column: str | None, reason: str
) -> None:
    """A good row precedes the bad one, and the same bad row follows."""
    good = to_csv([person(1)]).encode()
    before = await history(workspace)
    result = await workspace.ingest(workspace.file(good + row + b"\r\n" + row + b"\r\n"))
    assert result.code == 1
    (line,) = result.err
    assert line.startswith(f"line 3, column {column}: ")
    assert reason in line
    assert counts_in(result) == (0, 0, 0, 1)
    assert await history(workspace) == before


@pytest.mark.constraints
@pytest.mark.usefixtures("registered_product")
async def test_bad_rows_are_skipped_on_request_and_each_is_named(workspace: Workspace) -> None:
    content = to_csv([person(1)]).encode()
    for number, (row, _, _) in enumerate(BAD):
        content += row + b"\r\n" + to_csv([person(number + 2)]).encode().partition(b"\r\n")[2]
    rejects = workspace.directory / "rejects.csv"
    result = await workspace.ingest(workspace.file(content), "--on-error", "skip", "--rejects", rejects)
    assert result.code == 0
    assert counts_in(result) == (len(BAD) + 1, 0, 0, len(BAD))
    for number, (line, (_, column, reason)) in enumerate(zip(result.err, BAD, strict=True)):
        assert line.startswith(f"line {3 + 2 * number}, column {column}: ")
        assert reason in line
    with rejects.open(newline="", encoding="utf-8") as file:
        named = [f"line {it['line']}, column {it['column']}: {it['reason']}" for it in csv.DictReader(file)]
    assert named == result.err
    assert len(await current_details(workspace)) == len(BAD) + 1
    await workspace.verify()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "line 1: The file is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0", "line 1: This is not a CSV file but an image"),
        (b'[{"display_name": "Ann"}]', "line 1: This is not a CSV file but JSON"),
        (b"name,entity_type\nAnn,PERSON\n", "line 1: In the header display_name is missing, 'name' is unknown"),
    ],
)
async def test_a_file_of_another_format_fails_even_if_bad_rows_are_skipped(
    workspace: Workspace, content: bytes, reason: str
) -> None:
    file = workspace.file(content)
    for result in (await workspace.ingest(file), await workspace.ingest(file, "--on-error", "skip")):
        assert result.code == 1
        (line,) = result.err
        assert reason in line
        assert counts_in(result) == (0, 0, 0, 0)


async def test_a_file_holds_relationships_only_with_the_option(workspace: Workspace) -> None:
    entities, relationships = workspace.file(HEADER), workspace.file("type,origin,related\n")
    correct = await workspace.ingest("--relationships", relationships)
    without_option = await workspace.ingest(relationships)
    of_entities = await workspace.ingest("--relationships", entities)
    assert (correct.code, counts_in(correct)) == (0, (0, 0, 0, 0))
    assert "'type' is unknown, 'origin' is unknown, 'related' is unknown" in str(without_option.err)
    missing = "origin or origin_uid is missing, related or related_uid is missing, 'entity_uid' is unknown"
    assert missing in str(of_entities.err)


async def test_a_file_that_cannot_be_read_is_reported_in_one_line(workspace: Workspace) -> None:
    file = workspace.file(HEADER)
    assert await workspace.error("ingest", "csv", "nowhere.csv") == "nowhere.csv cannot be used: No such file or directory."
    directory = f"{workspace.directory} cannot be used: Is a directory."
    assert await workspace.error("ingest", "csv", workspace.directory) == directory
    unreadable = await workspace.ingest("/proc/self/mem")
    assert (unreadable.code, unreadable.err) == (1, ["error: The file cannot be read any further: Input/output error."])
    assert "is the file to load" in await workspace.error("ingest", "csv", file, "--rejects", file)
    assert file.read_text() == HEADER


@pytest.mark.random
async def test_a_bad_row_in_a_later_batch_leaves_the_earlier_batches(workspace: Workspace, batch: int) -> None:
    people = [person(number) for number in range(batch + 10)]
    people[batch + 4]["change_ts"] = "soon"
    result = await workspace.ingest(workspace.csv(people))
    assert result.code == 1
    assert messages_in(result)[0].startswith(f"line {batch + 6}, column change_ts: 'soon' is not an instant.")
    assert counts_in(result) == (batch, 0, 0, 1)
    assert await workspace.count("change") == batch


async def test_of_many_bad_rows_the_first_are_named_and_the_rejects_file_names_all(workspace: Workspace) -> None:
    rejects = workspace.directory / "rejects.csv"
    file = workspace.file(HEADER + ",,PERSON,,\n" * 250)
    result = await workspace.ingest(file, "--on-error", "skip", "--rejects", rejects)
    assert (result.code, counts_in(result)) == (0, (0, 0, 0, 250))
    assert len(result.err) == NAMED + 1
    assert "150 more" in result.err[-1]
    assert "--rejects" in str((await workspace.ingest(file, "--on-error", "skip")).err)
    assert len(rejects.read_text().splitlines()) == 251


@pytest.mark.random
@pytest.mark.idempotency
async def test_a_dry_run_counts_as_a_run_does_and_keeps_nothing(workspace: Workspace, batch: int) -> None:
    people = [person(number) for number in range(batch)]
    people += [person(number, display_name="Ann", change_ts=iso(day(number))) for number in range(20)]
    people[40]["entity_type"] = "ROBOT"
    file = workspace.csv(people)
    before = await history(workspace)
    dry_run = await workspace.ingest(file, "--dry-run", "--on-error", "skip")
    assert (dry_run.code, "Nothing is kept" in dry_run.out[1]) == (0, True)
    assert await history(workspace) == before == []
    assert await workspace.count("asset") == 0
    run = await workspace.ingest(file, "--on-error", "skip")
    assert counts_in(run) == counts_in(dry_run)
    assert messages_in(run) == messages_in(dry_run)
    assert [line.split(":")[0] for line in messages_in(run)] == [
        "line 42, column entity_type",
        # A batch must not contradict an earlier batch of the same load.
        f"line {batch + 2}, column change_ts",
    ]
    stopped = await workspace.ingest(file, "--dry-run")
    assert (stopped.code, messages_in(stopped)) == (1, messages_in(dry_run)[:1])


@pytest.mark.random
@pytest.mark.idempotency
async def test_a_repeated_load_changes_nothing_and_dated_rows_are_not_even_logged(workspace: Workspace, batch: int) -> None:
    dated = workspace.csv([person(number, change_ts=iso(day(number % 7))) for number in range(3 * batch)])
    undated = workspace.csv([person(number, change_ts="", display_name=f"Q{number}") for number in range(20)])
    assert counts_in(await workspace.ingest(dated)) == (3 * batch, 0, 0, 0)
    first = await history(workspace)
    assert counts_in(await workspace.ingest(dated)) == (0, 0, 3 * batch, 0)
    assert await history(workspace) == first
    assert counts_in(await workspace.ingest(undated)) == (0, 20, 0, 0)
    versions = await workspace.count("entity_version")
    assert counts_in(await workspace.ingest(undated)) == (0, 0, 20, 0)
    assert await workspace.count("entity_version") == versions
    await workspace.verify()


@pytest.mark.random
@pytest.mark.idempotency
async def test_a_load_that_was_killed_and_repeated_ends_in_the_history_of_an_undisturbed_one(
    workspace: Workspace, server: str, tmp_path: Path
) -> None:
    rows, subjects = size(quick=BATCH + 3_000, soak=2 * BATCH + 1_000), size(quick=2_500, soak=4_000)
    people = [
        person(number % subjects, display_name=f"P{number}", change_ts=iso(day(number * 7919 % 20_000 / 100)))
        for number in range(rows)
    ]
    file = workspace.csv(people)

    async def has_committed() -> bool:
        return await workspace.count("change") > 0

    async with workspace.start("ingest", "csv", file, "--actor", "ann") as command:
        await wait_until(has_committed)
        command.process.kill()
        assert await command.exit_code() == -signal.SIGKILL
    kept = await workspace.count("change")
    assert 0 < kept < len(people)
    assert kept % BATCH == 0
    repeated = await workspace.ingest(file, "--actor", "ann")
    assert repeated.code == 0, repeated.err
    assert counts_in(repeated)[2] >= kept
    async with temporary_database(server) as address, workspace_on(address, tmp_path, TYPES) as undisturbed:
        loaded = await undisturbed.ingest(file, "--actor", "ann")
        assert sum(counts_in(loaded)) == len(people)
        assert await history(undisturbed) == await history(workspace)
    await workspace.verify()


@pytest.mark.slow(20)
@pytest.mark.temporal
async def test_two_concurrent_loads_of_overlapping_files_leave_a_sound_history(workspace: Workspace) -> None:
    files = [
        workspace.csv(
            person(number * step % 5_639, display_name=f"P{load} {number}", change_ts=iso(day(number % 60)))
            for number in range(BATCH + 500)
        )
        for load, step in enumerate((31, 57))
    ]
    async with (
        workspace.start("ingest", "csv", files[0], "--on-error", "skip") as first,
        workspace.start("ingest", "csv", files[1], "--on-error", "skip") as second,
    ):
        codes = await asyncio.gather(first.exit_code(LOAD_PATIENCE), second.exit_code(LOAD_PATIENCE))
    assert list(codes) == [0, 0], (str(first.err), str(second.err))
    assert "Traceback" not in str(first.err) + str(second.err)
    assert [sum(counts_in(it)) for it in (first, second)] == [BATCH + 500] * 2
    await workspace.verify()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_load_that_is_interrupted_reports_what_it_kept(workspace: Workspace, number: signal.Signals) -> None:
    async with workspace.start("ingest", "csv", "-", stdin=asyncio.subprocess.PIPE) as command:
        # One whole batch, and a pipe that stays silent in the middle of the next.
        await command.send_input(to_csv(person(it) for it in range(BATCH + 10)).encode())

        async def batch_is_kept() -> bool:
            return await workspace.count("change") == BATCH

        await wait_until(batch_is_kept)
        command.process.send_signal(number)
        assert await command.exit_code() == 128 + number
    assert "Traceback" not in str(command.err)
    assert counts_in(command) == (BATCH, 0, 0, 0)
    assert messages_in(command) == ["Interrupted. What the summary counts is kept; run it again to load the rest."]
    assert await workspace.count("change") == BATCH


async def test_a_load_that_waits_for_another_writer_can_be_interrupted(workspace: Workspace) -> None:
    file = workspace.csv([person(1)])
    await workspace.ingest(file)
    async with workspace.connection.transaction():
        await workspace.connection.execute("SELECT FROM asset FOR UPDATE")
        async with workspace.start("ingest", "csv", workspace.csv([person(1, display_name="Ann")])) as command:
            await wait_until(lambda: waits_for_lock(workspace.address))
            command.process.send_signal(signal.SIGINT)
            assert await command.exit_code() == 128 + signal.SIGINT
    assert "Traceback" not in str(command.err)
    assert counts_in(command) == (0, 0, 0, 0)
    assert list(await current_details(workspace)) == ["Person 1"]


async def test_types_that_are_added_and_removed_during_a_load_are_noticed(workspace: Workspace) -> None:
    async with workspace.start("ingest", "csv", "-", "--on-error", "skip", stdin=asyncio.subprocess.PIPE) as command:
        await command.send_input(to_csv(person(it) for it in range(BATCH)).encode())
        robots = [person(BATCH + it, entity_type="ROBOT", details="") for it in range(BATCH)]

        async def batch_is_kept() -> bool:
            return await workspace.count("change") == BATCH

        await wait_until(batch_is_kept)
        await workspace.connection.execute("INSERT INTO entity_type (tenant_id, code, label) VALUES (1, 'ROBOT', 'Robot')")
        await workspace.connection.execute("DELETE FROM entity_type WHERE code = 'ORDER'")
        rest = to_csv([*robots, person(-1, entity_type="ORDER")]).encode().partition(b"\r\n")[2]
        await command.send_input(rest, last=True)
        assert await command.exit_code(LOAD_PATIENCE) == 0
    assert counts_in(command) == (2 * BATCH, 0, 0, 1)
    (line,) = messages_in(command)
    assert line == f"line {2 * BATCH + 2}, column entity_type: There is no entity type 'ORDER'. There are PERSON, ROBOT."


async def test_a_batch_that_lost_in_a_deadlock_is_tried_again(workspace: Workspace, database: Database) -> None:
    """The load holds the first asset and waits for the second; this test holds the second and requests the first."""
    await workspace.ingest(workspace.csv([person(1), person(2)]))
    first, second = [row["id"] for row in await workspace.connection.fetch("SELECT id FROM asset ORDER BY id")]
    errors = ErrorHook()
    database.hooks.append(errors)
    # The session of the load is the one that looks for a deadlock, and is cancelled.
    await workspace.connection.execute("SET deadlock_timeout = '60s'")
    load, _ = prepare_load(database)
    content = to_csv(person(it, display_name=f"Q{it}", change_ts="") for it in (1, 2)).encode()
    async with workspace.connection.transaction():
        await workspace.connection.execute("SELECT FROM asset WHERE id = $1 FOR UPDATE", second)
        task = asyncio.create_task(load.run(io.BytesIO(content), EntityFile))
        await wait_until(lambda: waits_for_lock(workspace.address))
        await workspace.connection.execute("SELECT FROM asset WHERE id = $1 FOR UPDATE", first)
    await task
    assert str(load.summary) == "created 0, updated 2, unchanged 0, rejected 0"
    assert errors.states == ["40P01"]


def prepare_load(database: Database, *, interval: float = 5, total: int | None = None) -> tuple[Load, io.StringIO]:
    """Return a load for this process, and what it prints."""
    printed = io.StringIO()
    progress = Progress(Console(file=printed), total, interval=interval)
    rejects = Rejects(progress, None, EntityFile.part)
    load = Load(database, 1, Author("tester"), advanced=progress.advance, rejected=rejects.add, on_error=OnError.SKIP)
    return load, printed


@pytest.mark.usefixtures("workspace")
async def test_progress_is_a_plain_line_where_there_is_no_terminal(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "BATCH", 1_000)
    content = to_csv(person(number) for number in range(1_010)).encode()
    load, printed = prepare_load(database, interval=0, total=len(content))
    await load.run(io.BytesIO(content), EntityFile)
    first, second = printed.getvalue().splitlines()
    assert re.fullmatch(r"1 000 rows, [\d ]+ rows/s, 99 %, about 0 s left", first)
    assert re.fullmatch(r"1 010 rows, [\d ]+ rows/s, 100 %, about 0 s left", second)


def test_progress_shows_rate_and_remaining_time_where_they_are_known() -> None:
    assert describe(240_000, 41, 100, 8) == "240 000 rows, 30 000 rows/s, 41 %, about 12 s left"
    assert describe(240_000, 0, None, 8) == "240 000 rows, 30 000 rows/s"
    assert describe(10, 1, 1_000, 1).endswith("0 %, about 17 min left")
    assert describe(10, 1, 10_000, 1).endswith("about 2 h 47 min left")
    assert describe(0, 0, 10, 0) == "0 rows"
    # The file has grown since its size was read.
    assert describe(10, 20, 10, 1) == "10 rows, 10 rows/s, 100 %, about 0 s left"


async def test_progress_is_a_bar_on_a_terminal_and_bad_rows_are_printed_above_it(workspace: Workspace) -> None:
    terminal, command_side = pty.openpty()
    file = workspace.csv([person(1), person(2, entity_type="")])
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        *("ingest", "csv", str(file), "--on-error", "skip"),
        env={**os.environ, "HEADWATER_DATABASE_URL": workspace.address, "TERM": "xterm", "COLUMNS": "100"},
        stdout=asyncio.subprocess.PIPE,
        stderr=command_side,
    )
    os.close(command_side)
    reading = asyncio.create_task(asyncio.to_thread(read_terminal, terminal))
    out, _ = await process.communicate()
    printed = await reading
    assert process.returncode == 0
    assert COUNTS.match(out.decode())
    assert "line 3, column entity_type: The cell is empty." in printed
    assert "━" in printed
    assert "rows/s" in printed


def read_terminal(terminal: int) -> str:
    content = b""
    # A terminal raises an error when the other side is closed.
    with suppress(OSError):
        while part := os.read(terminal, 1_000):
            content += part
    os.close(terminal)
    return content.decode()


def test_a_rejected_row_is_printed_with_line_column_and_reason() -> None:
    printed = io.StringIO()
    rejects = Rejects(Progress(Console(file=printed), None), None, "column")
    rejects.add(RowError(3, "details", "The cell is not JSON."))
    rejects.add(RowError(3, None, "The row is long."))
    assert printed.getvalue().splitlines() == ["line 3, column details: The cell is not JSON.", "line 3: The row is long."]


async def test_an_entity_is_found_again_by_any_of_its_keys(workspace: Workspace) -> None:
    keyed = person(1, entity_uid=None, key="7", alternate_keys='["K-7"]')
    rows = [keyed, {**keyed, "display_name": "Ann", "key": "K-7", "alternate_keys": "", "change_ts": iso(day(2))}]
    for counts in ((1, 1, 0, 0), (0, 0, 2, 0)):
        result = await workspace.ingest(workspace.csv(rows))
        assert (result.code, counts_in(result), messages_in(result)) == (0, counts, [])
    (entity,) = await workspace.connection.fetch(
        "SELECT uid, display_name, keys FROM asset JOIN entity_version ON asset_id = id WHERE valid_to = 'infinity'"
    )
    assert tuple(entity) == (entity_uid_by_key("PERSON", "7"), "Ann", ["K-7"])
    other = person(2, key="K-7", change_ts=iso(day(3)))
    rejected = await workspace.ingest(workspace.csv([other, person(3)]), "--on-error", "skip")
    assert (rejected.code, counts_in(rejected)) == (0, (1, 0, 0, 1))
    assert messages_in(rejected)[0].startswith("line 2, column key: Another entity of this type has the key 'K-7'")
    await workspace.verify()

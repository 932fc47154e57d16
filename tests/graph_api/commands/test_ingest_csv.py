"""`headwater ingest csv` as it is run: what is kept, what is said, and what is left when it is stopped, killed or run again."""

import asyncio
import csv
import io
import json
import os
import pty
import re
import signal
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

import asyncpg
import pytest
from rich.console import Console
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext

from db.assets import product
from db.author import Author
from db.bulk.ingest import BATCH
from db.database import Database
from graph_api.ingestion.entity_csv import COLUMNS, EntityFile
from graph_api.ingestion.loading import Load
from graph_api.ingestion.on_error import OnError
from graph_api.ingestion.progress import NAMED, Progress, Rejects, described
from graph_api.ingestion.row import RowError
from graph_api.ingestion.uids import entity_uid
from tests.builders import day, iso, product_fields
from tests.databases import temporary_database
from tests.graph_api.commands.test_process import COMMAND, Command, awaited

HEADER = ",".join(COLUMNS) + "\n"
PRODUCT = UUID("00000000-0000-4000-8000-00000000000b")
COUNTED = re.compile(r"created (\d+), updated (\d+), unchanged (\d+), rejected (\d+)")

TYPES = """
  INSERT INTO entity_type (tenant_id, code, label) VALUES (1, 'PERSON', 'Person'), (1, 'ORDER', 'Order');
  INSERT INTO detail_type (tenant_id, code, label, format) VALUES (1, 'email', 'Email', 'email'), (1, 'phone', 'Phone', 'phone');
"""
# All there is of each entity, but for what tells one load from another.
HISTORY = """
  SELECT a.uid, a.kind, a.type, 'change' AS what, c.change_ts AS since, NULL AS until,
    c.operation || c.payload || c.changed || c.actor AS said
  FROM asset a JOIN change c ON c.subject_id = a.id
  UNION ALL
  SELECT a.uid, a.kind, a.type, 'version', v.valid_from, v.valid_to, v.display_name || v.details || v.digest || v.created_at
  FROM asset a JOIN entity_version v ON v.asset_id = a.id
  UNION ALL
  SELECT a.uid, a.kind, a.type, 'detail ' || d.detail_type, d.valid_from, d.valid_to, d.value
  FROM asset a JOIN entity_detail d ON d.asset_id = a.id
  ORDER BY 1, 4, 5
"""


class World:
    """A database with types in it, a place for files, and the command to load them with."""

    def __init__(self, address: str, directory: Path, connection: asyncpg.Connection) -> None:
        self.address = address
        self.directory = directory
        self.connection = connection

    def file(self, rows: str | bytes | Iterable[Mapping[str, Any]]) -> Path:
        path = self.directory / f"{uuid4().hex}.csv"
        path.write_bytes(rows if isinstance(rows, bytes) else (rows if isinstance(rows, str) else in_csv(rows)).encode())
        return path

    @asynccontextmanager
    async def running(self, *arguments: Any, stdin: int = asyncio.subprocess.DEVNULL) -> AsyncIterator[Command]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
        command = Command(
            await asyncio.create_subprocess_exec(
                COMMAND,
                *map(str, arguments),
                env={**environment, "HEADWATER_DATABASE_URL": self.address, "COLUMNS": "80"},
                cwd=self.directory,
                stdin=stdin,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=2**24,
                start_new_session=True,
            )
        )
        try:
            yield command
        finally:
            if command.runs:
                os.killpg(command.process.pid, signal.SIGKILL)
            await command.process.wait()

    async def run(self, *arguments: Any) -> Command:
        async with self.running(*arguments) as command:
            await ended(command)
            return command

    async def ingest(self, *arguments: Any) -> Command:
        return await self.run("ingest", "csv", *arguments)

    async def count(self, table: str) -> int:
        return int(await self.connection.fetchval(f"SELECT count(*) FROM {table}"))

    async def history(self) -> list[asyncpg.Record]:
        return list(await self.connection.fetch(HISTORY))

    async def states(self) -> dict[str, dict[str, str]]:
        """What holds now: the details by the name."""
        rows = await self.connection.fetch(
            "SELECT display_name, details FROM entity_version WHERE valid_to = 'infinity' ORDER BY display_name"
        )
        return {row["display_name"]: json.loads(row["details"]) for row in rows}

    async def sound(self) -> None:
        verified = await self.run("verify")
        assert verified.process.returncode == 0, str(verified.out)


@asynccontextmanager
async def world_at(address: str, directory: Path) -> AsyncIterator[World]:
    connection = await asyncpg.connect(address)
    try:
        await connection.execute(TYPES)
        yield World(address, directory, connection)
    finally:
        await connection.close()


@pytest.fixture
async def world(address: str, tmp_path: Path) -> AsyncIterator[World]:
    async with world_at(address, tmp_path) as world:
        yield world


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


def in_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


async def ended(command: Command) -> int:
    async with asyncio.timeout(120):
        code = await command.process.wait()
        await asyncio.gather(command.out.listening, command.err.listening)
    assert "Traceback" not in str(command.out) + str(command.err), str(command.err)
    return code


def counted(command: Command) -> tuple[int, ...]:
    """Created, updated, unchanged, rejected."""
    found = COUNTED.fullmatch(command.out.lines[0])
    assert found, str(command.out)
    return tuple(int(it) for it in found.groups())


@pytest.mark.api
async def test_a_file_is_loaded_and_the_summary_tells_what_became_of_its_rows(world: World) -> None:
    first = await world.ingest(world.file([person(1), person(2), person(3)]), "--actor", "ann")
    assert (first.process.returncode, counted(first), first.err.lines) == (0, (3, 0, 0, 0), [])
    later = {"change_ts": iso(day(5))}
    second = await world.ingest(
        world.file([person(1, display_name="Ann", **later), person(2, **later), person(3), person(4, details="[]")])
    )
    assert (second.process.returncode, counted(second)) == (0, (1, 1, 2, 0))
    assert next(iter((await world.states()).items())) == ("Ann", {"email": "p1@shop.example", "phone": "+49 30 000001"})
    assert (await world.states())["Person 4"] == {}
    loads = await world.connection.fetch("SELECT actor, count(*), count(DISTINCT request_id) FROM change GROUP BY actor")
    assert ("ann", 3, 1) in [tuple(it) for it in loads]
    assert len(loads) == 2
    await world.sound()


async def test_the_example_in_the_documentation_ends_as_the_page_says(world: World) -> None:
    page = (Path(__file__).parents[3] / "docs/operations.md").read_text()
    example = re.search(r"\$ cat people\.csv\n(.*?)\$ headwater ingest csv people\.csv\n(.*?)\n", page, re.DOTALL)
    assert example
    assert (await world.ingest(world.file(example[1]))).out.lines[0] == example[2]


@pytest.mark.scd2
async def test_a_row_states_the_whole_entity_and_what_it_leaves_out_ends(world: World) -> None:
    phone = '[{"detail_type": "phone", "detail_value": "+49 30 000001"}]'
    rows = [person(1), person(1, details=phone, change_ts=iso(day(2))), person(1, details="", change_ts=iso(day(4)))]
    loaded = await world.ingest(world.file(rows))
    assert counted(loaded) == (1, 2, 0, 0)
    details = await world.connection.fetch("SELECT detail_type, valid_from, valid_to FROM entity_detail ORDER BY 1")
    assert [tuple(it) for it in details] == [("email", day(0), day(2)), ("phone", day(0), day(4))]


async def test_without_an_instant_a_row_holds_from_the_beginning_of_the_load_and_without_a_uid_it_derives_one(
    world: World,
) -> None:
    content = "display_name,entity_type\n" + "".join(f"P{number},PERSON\n" for number in range(BATCH + 1))
    before = await world.connection.fetchval("SELECT clock_timestamp()")
    assert counted(await world.ingest(world.file(content))) == (BATCH + 1, 0, 0, 0)
    instants = await world.connection.fetch("SELECT DISTINCT change_ts, recorded_at >= change_ts AS sound FROM change")
    assert len({it["change_ts"] for it in instants}) == 1
    assert all(it["sound"] and it["change_ts"] >= before for it in instants)
    known = await world.connection.fetch("SELECT uid FROM asset")
    assert {it["uid"] for it in known} == {entity_uid("PERSON", f"P{number}") for number in range(BATCH + 1)}


@pytest.mark.api
async def test_a_byte_order_mark_crlf_and_standard_input_are_accepted(world: World) -> None:
    content = in_csv([person(1), person(2)])
    assert "\r\n" in content
    async with world.running("ingest", "csv", "-", stdin=asyncio.subprocess.PIPE) as command:
        assert command.process.stdin
        command.process.stdin.write(content.encode("utf-8-sig"))
        command.process.stdin.close()
        assert await ended(command) == 0
    assert counted(command) == (2, 0, 0, 0)
    unix = world.file(content.replace("\r\n", "\n"))
    assert counted(await world.ingest(unix)) == (0, 0, 2, 0)


def having(*details: tuple[str, str]) -> bytes:
    """A row of somebody with these details."""
    listed = [{"detail_type": code, "detail_value": value} for code, value in details]
    return in_csv([{"display_name": "Ann", "entity_type": "PERSON", "details": json.dumps(listed)}]).splitlines()[1].encode()


BAD: list[tuple[bytes, str | None, str]] = [
    (b",Ann,PERSON", "details", "3 of 5 cells; missing: details, change_ts"),
    (b',Ann,PERSON,"[{""detail_type""}]",', "details", "no JSON"),
    (b",Ann,ROBOT,,", "entity_type", "There is no entity type 'ROBOT'. There are ORDER, PERSON."),
    (having(("shoe_size", "42")), "details", "There is no detail type 'shoe_size'. There are email, phone."),
    (having(("email", "a@shop.example"), ("email", "b@shop.example")), "details", "two details of the type 'email'"),
    (having(("email", "nonsense")), "details", "'nonsense' is not an email address"),
    (b",Ann,PERSON,,2026-01-01T00:00:00", "change_ts", "no offset"),
    (b",Ann,PERSON,,2999-01-01", "change_ts", "change_ts is 2999-01-01T00:00:00"),
    (b",A\xffnn,PERSON,,", "display_name", "the byte 0xFF, which is not UTF-8"),
    (b",Ann\0,PERSON,,", "display_name", "NUL"),
    (b", Ann,PERSON,,", "display_name", "display_name has spaces at an end"),
    (b",,PERSON,,", "display_name", "empty"),
    (b"17,Ann,PERSON,,", "entity_uid", "'17' is no UUID"),
    (f"{PRODUCT},Ann,PERSON,,".encode(), "entity_uid", f"The uid {PRODUCT} belongs to an asset of another kind (product)."),
    (f"{uuid5(PRODUCT, '1')},Ann,ORDER,,".encode(), "entity_type", "has the type PERSON, not ORDER. A type never changes."),
    (f"{uuid5(PRODUCT, '1')},Ann,PERSON,,2026-01-01".encode(), "change_ts", "two states at"),
    (b',Ann,PERSON,"x"y,', "details", "quoted whole"),
]


@pytest.fixture
async def product_in_it(world: World, database: Database, author: Author) -> None:
    async with database.transaction(1, author) as connection:
        await product.register(connection, product_fields(), uid=PRODUCT)


@pytest.mark.constraints
@pytest.mark.usefixtures("product_in_it")
@pytest.mark.parametrize(("row", "column", "reason"), BAD, ids=[repr(row[:50]) for row, _, _ in BAD])
async def test_the_first_bad_row_ends_the_load_and_nothing_of_its_batch_stays(
    world: World, row: bytes, column: str | None, reason: str
) -> None:
    """The bad row stands behind a good one, and in front of one that is as bad."""
    good = in_csv([person(1)]).encode()
    before = await world.history()
    command = await world.ingest(world.file(good + row + b"\r\n" + row + b"\r\n"))
    assert command.process.returncode == 1
    (line,) = command.err.lines
    assert line.startswith(f"line 3, column {column}: ")
    assert reason in line
    assert counted(command) == (0, 0, 0, 1)
    assert await world.history() == before


@pytest.mark.constraints
@pytest.mark.usefixtures("product_in_it")
async def test_bad_rows_stay_behind_when_they_are_to_be_skipped_and_each_is_named(world: World) -> None:
    content = in_csv([person(1)]).encode()
    for number, (row, _, _) in enumerate(BAD):
        content += row + b"\r\n" + in_csv([person(number + 2)]).encode().partition(b"\r\n")[2]
    rejects = world.directory / "rejects.csv"
    command = await world.ingest(world.file(content), "--on-error", "skip", "--rejects", rejects)
    assert command.process.returncode == 0
    assert counted(command) == (len(BAD) + 1, 0, 0, len(BAD))
    for number, (line, (_, column, reason)) in enumerate(zip(command.err.lines, BAD, strict=True)):
        assert line.startswith(f"line {3 + 2 * number}, column {column}: ")
        assert reason in line
    with rejects.open(newline="", encoding="utf-8") as file:
        named = [f"line {it['line']}, column {it['column']}: {it['reason']}" for it in csv.DictReader(file)]
    assert named == command.err.lines
    assert len(await world.states()) == len(BAD) + 1
    await world.sound()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "line 1: The file is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0", "line 1: This is no CSV file but an image"),
        (b'[{"display_name": "Ann"}]', "line 1: This is no CSV file but JSON"),
        (b"name,entity_type\nAnn,PERSON\n", "line 1: In the header display_name is missing, 'name' is unknown"),
    ],
)
async def test_what_is_no_csv_file_ends_the_load_whatever_is_to_become_of_bad_rows(
    world: World, content: bytes, reason: str
) -> None:
    file = world.file(content)
    for command in await asyncio.gather(world.ingest(file), world.ingest(file, "--on-error", "skip")):
        assert command.process.returncode == 1
        (line,) = command.err.lines
        assert reason in line
        assert counted(command) == (0, 0, 0, 0)


async def test_a_file_of_joins_is_read_as_one_where_that_is_said(world: World) -> None:
    entities, joins = world.file(HEADER), world.file("type,origin,related\n")
    told, untold, mistaken = await asyncio.gather(
        world.ingest("--relationships", joins), world.ingest(joins), world.ingest("--relationships", entities)
    )
    assert (told.process.returncode, counted(told)) == (0, (0, 0, 0, 0))
    assert "'type' is unknown, 'origin' is unknown, 'related' is unknown" in str(untold.err)
    assert "origin or origin_uid is missing, related or related_uid is missing, 'entity_uid' is unknown" in str(mistaken.err)


async def test_a_file_that_cannot_be_read_is_one_clear_sentence(world: World) -> None:
    file = world.file(HEADER)
    missing, directory, broken, itself = await asyncio.gather(
        world.ingest("nowhere.csv"),
        world.ingest(world.directory),
        world.ingest("/proc/self/mem"),
        world.ingest(file, "--rejects", file),
    )
    assert [it.process.returncode for it in (missing, directory, broken, itself)] == [1, 1, 1, 1]
    assert missing.err.lines == ["error: nowhere.csv cannot be used: No such file or directory."]
    assert directory.err.lines == [f"error: {world.directory} cannot be used: Is a directory."]
    assert broken.err.lines == ["error: The file cannot be read any further: Input/output error."]
    assert "is the file to load" in str(itself.err)
    assert file.read_text() == HEADER


async def test_a_bad_row_in_a_later_batch_leaves_those_before(world: World) -> None:
    people = [person(number) for number in range(BATCH + 10)]
    people[BATCH + 4]["change_ts"] = "soon"
    command = await world.ingest(world.file(people))
    assert command.process.returncode == 1
    assert command.err.lines[0].startswith(f"line {BATCH + 6}, column change_ts: 'soon' is not an instant.")
    assert counted(command) == (BATCH, 0, 0, 1)
    assert await world.count("change") == BATCH


async def test_of_many_bad_rows_only_the_first_are_named_and_a_file_takes_them_all(world: World) -> None:
    rejects = world.directory / "rejects.csv"
    file = world.file(HEADER + ",,PERSON,,\n" * 250)
    command = await world.ingest(file, "--on-error", "skip", "--rejects", rejects)
    assert (command.process.returncode, counted(command)) == (0, (0, 0, 0, 250))
    assert len(command.err.lines) == NAMED + 1
    assert "150 more" in command.err.lines[-1]
    assert "--rejects" in str((await world.ingest(file, "--on-error", "skip")).err)
    assert len(rejects.read_text().splitlines()) == 251


@pytest.mark.idempotency
async def test_a_dry_run_counts_what_a_run_would_and_leaves_nothing(world: World) -> None:
    people = [person(number) for number in range(BATCH)]
    people += [person(number, display_name="Ann", change_ts=iso(day(number))) for number in range(20)]
    people[40]["entity_type"] = "ROBOT"
    file = world.file(people)
    before = await world.history()
    dry = await world.ingest(file, "--dry-run", "--on-error", "skip")
    assert (dry.process.returncode, "Nothing is kept" in dry.out.lines[1]) == (0, True)
    assert await world.history() == before == []
    assert await world.count("asset") == 0
    run = await world.ingest(file, "--on-error", "skip")
    assert counted(run) == counted(dry)
    assert run.err.lines == dry.err.lines
    assert [line.split(":")[0] for line in run.err.lines] == [
        "line 42, column entity_type",
        # what a batch says must not contradict what an earlier one said
        f"line {BATCH + 2}, column change_ts",
    ]
    stopped = await world.ingest(file, "--dry-run")
    assert (stopped.process.returncode, stopped.err.lines) == (1, dry.err.lines[:1])


@pytest.mark.idempotency
async def test_loading_a_file_again_changes_nothing_and_a_row_with_an_instant_is_not_even_heard_again(world: World) -> None:
    dated = world.file([person(number, change_ts=iso(day(number % 7))) for number in range(BATCH + 500)])
    undated = world.file([person(number, change_ts="", display_name=f"Q{number}") for number in range(20)])
    assert counted(await world.ingest(dated)) == (BATCH + 500, 0, 0, 0)
    history = await world.history()
    assert counted(await world.ingest(dated)) == (0, 0, BATCH + 500, 0)
    assert await world.history() == history
    assert counted(await world.ingest(undated)) == (0, 20, 0, 0)
    versions = await world.count("entity_version")
    assert counted(await world.ingest(undated)) == (0, 0, 20, 0)
    assert await world.count("entity_version") == versions
    await world.sound()


@pytest.mark.idempotency
async def test_a_load_that_was_killed_and_run_again_ends_in_the_history_of_a_clean_one(
    world: World, server: str, tmp_path: Path
) -> None:
    people = [
        person(number % 4_000, display_name=f"P{number}", change_ts=iso(day(number * 7919 % 20_000 / 100)))
        for number in range(2 * BATCH + 1_000)
    ]
    file = world.file(people)

    async def begun() -> bool:
        return await world.count("change") > 0

    async with world.running("ingest", "csv", file, "--actor", "ann") as command:
        await awaited(begun)
        command.process.kill()
        await command.process.wait()
    assert command.process.returncode == -signal.SIGKILL
    left = await world.count("change")
    assert 0 < left < len(people)
    assert left % BATCH == 0
    again = await world.ingest(file, "--actor", "ann")
    assert again.process.returncode == 0, str(again.err)
    assert counted(again)[2] >= left
    async with temporary_database(server) as address, world_at(address, tmp_path) as clean:
        loaded = await clean.ingest(file, "--actor", "ann")
        assert sum(counted(loaded)) == len(people)
        assert await clean.history() == await world.history()
    await world.sound()


@pytest.mark.temporal
async def test_two_loads_of_overlapping_files_at_once_leave_a_sound_history(world: World) -> None:
    files = [
        world.file(
            person(number * step % 5_639, display_name=f"P{turn} {number}", change_ts=iso(day(number % 60)))
            for number in range(BATCH + 500)
        )
        for turn, step in enumerate((31, 57))
    ]
    both = await asyncio.gather(*(world.ingest(file, "--on-error", "skip") for file in files))
    assert [it.process.returncode for it in both] == [0, 0], [str(it.err) for it in both]
    assert [sum(counted(it)) for it in both] == [BATCH + 500] * 2
    await world.sound()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_load_that_is_told_to_stop_says_what_it_kept(world: World, number: signal.Signals) -> None:
    async with world.running("ingest", "csv", "-", stdin=asyncio.subprocess.PIPE) as command:
        assert command.process.stdin
        # one batch whole, and a pipe that stays silent in the middle of the next
        command.process.stdin.write(in_csv(person(it) for it in range(BATCH + 10)).encode())

        async def kept() -> bool:
            return await world.count("change") == BATCH

        await awaited(kept)
        command.process.send_signal(number)
        assert await ended(command) == 128 + number
    assert counted(command) == (BATCH, 0, 0, 0)
    assert command.err.lines == ["Interrupted. What the summary counts is kept; run it again to load the rest."]
    assert await world.count("change") == BATCH


async def test_a_load_that_waits_for_another_writer_can_be_told_to_stop(world: World) -> None:
    file = world.file([person(1)])
    await world.ingest(file)
    async with world.connection.transaction():
        await world.connection.execute("SELECT FROM asset FOR UPDATE")
        async with world.running("ingest", "csv", world.file([person(1, display_name="Ann")])) as command:
            await awaited(lambda: queued(world.address))
            command.process.send_signal(signal.SIGINT)
            assert await ended(command) == 128 + signal.SIGINT
    assert counted(command) == (0, 0, 0, 0)
    assert list(await world.states()) == ["Person 1"]


async def queued(address: str) -> bool:
    """Whether somebody waits for a lock."""
    observer = await asyncpg.connect(address)
    try:
        waiting = await observer.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(waiting)
    finally:
        await observer.close()


async def test_types_that_come_and_go_during_a_load_are_noticed(world: World) -> None:
    async with world.running("ingest", "csv", "-", "--on-error", "skip", stdin=asyncio.subprocess.PIPE) as command:
        assert command.process.stdin
        command.process.stdin.write(in_csv(person(it) for it in range(BATCH)).encode())
        robots = [person(BATCH + it, entity_type="ROBOT", details="") for it in range(BATCH)]

        async def kept() -> bool:
            return await world.count("change") == BATCH

        await awaited(kept)
        await world.connection.execute("INSERT INTO entity_type (tenant_id, code, label) VALUES (1, 'ROBOT', 'Robot')")
        await world.connection.execute("DELETE FROM entity_type WHERE code = 'ORDER'")
        command.process.stdin.write(in_csv([*robots, person(-1, entity_type="ORDER")]).encode().partition(b"\r\n")[2])
        command.process.stdin.close()
        assert await ended(command) == 0
    assert counted(command) == (2 * BATCH, 0, 0, 1)
    (line,) = command.err.lines
    assert line == f"line {2 * BATCH + 2}, column entity_type: There is no entity type 'ORDER'. There are PERSON, ROBOT."


async def test_a_batch_that_lost_in_a_deadlock_is_tried_again(world: World, database: Database) -> None:
    """The load waits for the second asset while it has the first; then we, who have the second, ask for the first."""
    await world.ingest(world.file([person(1), person(2)]))
    first, second = [row["id"] for row in await world.connection.fetch("SELECT id FROM asset ORDER BY id")]
    deadlocks: list[str] = []

    def hear(context: ExceptionContext) -> None:
        deadlocks.append(getattr(context.original_exception, "sqlstate", ""))

    event.listen(database.engine.sync_engine, "handle_error", hear)
    # ours is not the one that looks whether there is a deadlock
    await world.connection.execute("SET deadlock_timeout = '60s'")
    load, _ = loading(database)
    content = in_csv(person(it, display_name=f"Q{it}", change_ts="") for it in (1, 2)).encode()
    async with world.connection.transaction():
        await world.connection.execute("SELECT FROM asset WHERE id = $1 FOR UPDATE", second)
        task = asyncio.create_task(load.run(io.BytesIO(content), EntityFile))
        await awaited(lambda: queued(world.address))
        await world.connection.execute("SELECT FROM asset WHERE id = $1 FOR UPDATE", first)
    await task
    assert str(load.summary) == "created 0, updated 2, unchanged 0, rejected 0"
    assert deadlocks == ["40P01"]


def loading(database: Database, *, interval: float = 5, total: int | None = None) -> tuple[Load, io.StringIO]:
    """A load in this process, and what it says."""
    heard = io.StringIO()
    progress = Progress(Console(file=heard), total, interval=interval)
    rejects = Rejects(progress, None, EntityFile.part)
    load = Load(database, 1, Author("tester"), advanced=progress.advance, rejected=rejects.add, on_error=OnError.SKIP)
    return load, heard


@pytest.mark.usefixtures("world")
async def test_where_there_is_no_terminal_progress_is_a_plain_line(database: Database) -> None:
    content = in_csv(person(number) for number in range(BATCH + 10)).encode()
    load, heard = loading(database, interval=0, total=len(content))
    await load.run(io.BytesIO(content), EntityFile)
    first, second = heard.getvalue().splitlines()
    assert re.fullmatch(r"5 000 rows, [\d ]+ rows/s, 99 %, about 0 s left", first)
    assert re.fullmatch(r"5 010 rows, [\d ]+ rows/s, 100 %, about 0 s left", second)


def test_progress_tells_rate_and_remaining_time_where_they_can_be_known() -> None:
    assert described(240_000, 41, 100, 8) == "240 000 rows, 30 000 rows/s, 41 %, about 12 s left"
    assert described(240_000, 0, None, 8) == "240 000 rows, 30 000 rows/s"
    assert described(10, 1, 1_000, 1).endswith("0 %, about 17 min left")
    assert described(10, 1, 10_000, 1).endswith("about 2 h 47 min left")
    assert described(0, 0, 10, 0) == "0 rows"
    # the file has grown since
    assert described(10, 20, 10, 1) == "10 rows, 10 rows/s, 100 %, about 0 s left"


async def test_on_a_terminal_progress_is_a_bar_and_bad_rows_stand_above_it(world: World) -> None:
    terminal, its_own = pty.openpty()
    file = world.file([person(1), person(2, entity_type="")])
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        *("ingest", "csv", str(file), "--on-error", "skip"),
        env={**os.environ, "HEADWATER_DATABASE_URL": world.address, "TERM": "xterm", "COLUMNS": "100"},
        stdout=asyncio.subprocess.PIPE,
        stderr=its_own,
    )
    os.close(its_own)
    listening = asyncio.create_task(asyncio.to_thread(heard_on, terminal))
    out, _ = await process.communicate()
    said = await listening
    assert process.returncode == 0
    assert COUNTED.match(out.decode())
    assert "line 3, column entity_type: The cell is empty." in said
    assert "━" in said
    assert "rows/s" in said


def heard_on(terminal: int) -> str:
    said = b""
    # an error is how a terminal says that nobody is at its other end
    with suppress(OSError):
        while part := os.read(terminal, 1_000):
            said += part
    os.close(terminal)
    return said.decode()


def test_a_fault_says_where_and_why() -> None:
    heard = io.StringIO()
    rejects = Rejects(Progress(Console(file=heard), None), None, "column")
    rejects.add(RowError(3, "details", "The cell is no JSON."))
    rejects.add(RowError(3, None, "The row is long."))
    assert heard.getvalue().splitlines() == ["line 3, column details: The cell is no JSON.", "line 3: The row is long."]

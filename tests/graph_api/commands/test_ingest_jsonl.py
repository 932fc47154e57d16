"""`headwater ingest jsonl`: whatever the order of a file, and however often it is loaded, it ends in the same state."""

import asyncio
import io
import json
import signal
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, BinaryIO
from uuid import UUID, uuid4, uuid5

import asyncpg
import pytest

from db.assets.entity import entity_uid_by_key
from db.associations.lineage_link import link_uid
from db.associations.relationship import relationship_uid
from db.author import Author
from db.bulk.ingest import BATCH
from db.database import Database
from db.temporal.verification import verify_tenant
from graph_api.ingestion import source, waiting
from graph_api.ingestion.jsonl import JsonLines
from graph_api.ingestion.loading import Load
from graph_api.ingestion.on_error import OnError
from graph_api.ingestion.row import Parser, RowError
from graph_api.ingestion.uids import product_uid
from tests.builders import day, iso, product_fields
from tests.conftest import recording
from tests.databases import temporary_database
from tests.graph_api.commands.test_ingest_csv import World, counted
from tests.graph_api.commands.test_process import awaited
from tests.graph_api.ingestion.random_histories import HOME, JOIN_TYPES, SPACE, TYPES, Story
from tests.randomness import seeds

# All there is, but for what tells one load from another: ids, who wrote and when, and what changed something as it came.
STATE = """
  WITH i AS (
    SELECT 'LINK' AS kind, id, uid FROM lineage_link
    UNION ALL SELECT 'RELATIONSHIP', id, uid FROM relationship
    UNION ALL SELECT kind, id, uid FROM asset
  ),
  v AS (
    SELECT 'product' AS what, 'PRODUCT' AS kind, asset_id AS id, to_jsonb(product_version) AS said FROM product_version
    UNION ALL SELECT 'entity', 'ENTITY', asset_id, to_jsonb(entity_version) FROM entity_version
    UNION ALL SELECT 'detail', 'ENTITY', asset_id, to_jsonb(entity_detail) FROM entity_detail
    UNION ALL SELECT 'life', kind, asset_id, to_jsonb(asset_lifetime) FROM asset_lifetime JOIN asset ON id = asset_id
    UNION ALL SELECT 'asserted', 'LINK', link_id, to_jsonb(lineage_link_version) FROM lineage_link_version
    UNION ALL SELECT 'held', 'LINK', link_id, to_jsonb(lineage_link_effective) FROM lineage_link_effective
    UNION ALL SELECT 'asserted', 'RELATIONSHIP', relationship_id, to_jsonb(relationship_version) FROM relationship_version
    UNION ALL SELECT 'held', 'RELATIONSHIP', relationship_id, to_jsonb(relationship_effective) FROM relationship_effective
    UNION ALL SELECT 'log', kind, subject_id, jsonb_build_array(operation, change_ts, payload) FROM change
    UNION ALL SELECT 'asset', kind, id, to_jsonb(asset) FROM asset
    UNION ALL SELECT 'link', 'LINK', l.id, to_jsonb(s.uid || ' to ' || t.uid)
    FROM lineage_link l JOIN asset s ON s.id = l.source_id JOIN asset t ON t.id = l.target_id
    UNION ALL SELECT 'join', 'RELATIONSHIP', r.id, to_jsonb(o.uid || ' ' || y.key || ' ' || t.uid)
    FROM relationship r
    JOIN relationship_type y ON y.id = r.type_id
    JOIN asset o ON o.id = r.origin_id
    JOIN asset t ON t.id = r.related_id
  )
  SELECT what, uid::text AS who, CASE jsonb_typeof(said)
      WHEN 'object' THEN said - '{id,asset_id,link_id,source_id,target_id,relationship_id,type_id,origin_id,related_id}'::text[]
      ELSE said
    END::text AS said
  FROM v JOIN i USING (kind, id)
  UNION ALL SELECT 'entity type', code, to_jsonb(entity_type)::text FROM entity_type
  UNION ALL SELECT 'detail type', code, to_jsonb(detail_type)::text FROM detail_type
  UNION ALL SELECT 'relationship type', key, (to_jsonb(relationship_type) - 'id')::text FROM relationship_type
  ORDER BY 1, 2, 3
"""
A, B, C = (UUID(int=number) for number in (10, 11, 12))


def in_lines(lines: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(it).encode() + b"\n" for it in lines)


def a_product(uid: UUID | None, name: str, at: float, **changes: Any) -> dict[str, Any]:
    return {"kind": "product", "uid": uid and str(uid), **product_fields(name, **changes), "at": iso(day(at))}


def a_link(source_uid: UUID, target_uid: UUID, at: float, **changes: Any) -> dict[str, Any]:
    ends = {"source": {"uid": str(source_uid)}, "target": {"uid": str(target_uid)}}
    return {"kind": "link", **ends, "at": iso(day(at)), **changes}


def an_end(uid: UUID, at: float) -> dict[str, Any]:
    return {"kind": "delete", "uid": str(uid), "at": iso(day(at))}


class Base:
    """A database, and a way to load lines into it in this process."""

    def __init__(self, address: str, database: Database) -> None:
        self.address = address
        self.database = database
        self.faults: list[RowError] = []

    async def load(self, lines: Iterable[dict[str, Any]], **options: Any) -> Load:
        return await self.load_file(in_lines(lines), JsonLines, **options)

    async def load_file(
        self, file: bytes, parse: Callable[[BinaryIO], Parser], *, stop_after: int | None = None, **options: Any
    ) -> Load:
        self.faults = []
        load = Load(
            self.database,
            1,
            Author("tester", str(uuid4())),
            advanced=lambda rows, position: load.leave() if stop_after is not None and rows >= stop_after else None,
            rejected=self.faults.append,
            **{"on_error": OnError.SKIP, **options},
        )
        await load.run(io.BytesIO(file), parse)
        return load

    async def state(self) -> list[Any]:
        connection = await asyncpg.connect(self.address)
        try:
            return [tuple(it) for it in await connection.fetch(STATE)]
        finally:
            await connection.close()

    async def sound(self) -> None:
        async with self.database.snapshot(1) as connection:
            assert (await verify_tenant(connection)).differences == []


@asynccontextmanager
async def base_on(server: str) -> AsyncIterator[Base]:
    async with temporary_database(server) as address:
        database = Database(address, pool_size=2)
        try:
            yield Base(address, database)
        finally:
            await database.close()


@pytest.fixture
async def base(server: str) -> AsyncIterator[Base]:
    async with base_on(server) as base:
        yield base


@pytest.mark.random
@pytest.mark.temporal
@pytest.mark.parametrize("seed", seeds(quick=8, soak=64))
async def test_a_shuffled_file_ends_in_the_state_of_the_ordered_one(
    server: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names that are handed over, ends, returns, links by name: in batches so small that what belongs together is not."""
    random = Random(seed)
    lines = Story(random).tell(90)
    async with base_on(server) as ordered, base_on(server) as shuffled:
        load = await ordered.load(lines)
        assert (ordered.faults, load.summary.rows) == ([], len(lines))
        state = await ordered.state()
        monkeypatch.setattr(source, "BATCH", 40)
        load = await shuffled.load(random.sample(lines, len(lines)))
        assert (shuffled.faults, load.summary.rows) == ([], len(lines))
        assert await shuffled.state() == state
        await shuffled.sound()
        # and loaded once more, in another order still
        load = await shuffled.load(random.sample(lines, len(lines)))
        assert str(load.summary) == f"created 0, updated 0, unchanged {len(lines)}, rejected 0"
        assert await shuffled.state() == state


@pytest.mark.idempotency
@pytest.mark.parametrize("seed", range(3))
async def test_a_load_that_was_stopped_and_run_again_ends_in_the_state_of_a_clean_one(
    server: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "BATCH", 20)
    lines = Story(Random(seed)).tell(90)
    async with base_on(server) as clean, base_on(server) as stopped:
        await clean.load(lines)
        for kept in (15, 35, 55):
            load = await stopped.load(lines, stop_after=kept)
            assert kept <= load.summary.rows < len(lines)
        await stopped.load(lines)
        assert await stopped.state() == await clean.state()
        await stopped.sound()


@pytest.mark.constraints
async def test_names_are_handed_over_within_a_batch_and_a_taken_one_takes_nobody_with_it(base: Base) -> None:
    await base.load([a_product(A, "orders", 0), a_product(B, "sales", 0)])
    swap = [a_product(A, "sales", 1), a_product(B, "orders", 1)]
    others = [a_product(UUID(int=100 + number), f"other {number}", 1) for number in range(50)]
    taken = [a_product(C, "orders", 2), a_product(None, "fine", 2), a_product(UUID(int=13), "sales", 0.5)]
    load = await base.load([*taken, *others, *swap])
    assert str(load.summary) == "created 51, updated 2, unchanged 0, rejected 2"
    assert {(it.line, it.field, it.code) for it in base.faults} == {(1, "name", "CONFLICT"), (3, "name", "CONFLICT")}
    known = {who for what, who, _ in await base.state() if what == "asset"}
    assert str(product_uid("fine")) in known
    assert not {str(C), str(UUID(int=13))} & known, "nothing of them is left behind"
    await base.sound()


async def test_what_holds_later_than_now_leaves_no_identity_behind(base: Base) -> None:
    await base.load([a_product(A, "a", 0), a_product(B, "b", 0)])
    before = await base.state()
    ahead = [a_product(C, "c", 100_000), a_link(A, B, 100_000), an_end(A, 100_000), {**TYPES[0], "code": "X"}]
    load = await base.load(ahead)
    assert [it.field for it in base.faults] == ["at", "at", "at"]
    assert load.summary.created == 1
    assert [it for it in await base.state() if it[1] != "X"] == before


@pytest.mark.parametrize("order", [1, -1])
async def test_what_is_not_there_yet_is_waited_for(base: Base, order: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line needs the one before it, and is in a batch of its own."""
    monkeypatch.setattr(source, "BATCH", 1)
    lines = [
        *TYPES,
        {"kind": "entity", "type": "TABLE", "key": "1", "displayName": "One", "at": iso(day(0))},
        a_product(A, "orders", 0),
        a_product(A, "sales", 2),
        a_product(B, "orders", 2),
        {**a_link(A, B, 3), "source": {"product": "orders"}, "target": {"entity": {"type": "TABLE", "key": "1"}}},
        an_end(B, 5),
    ]
    load = await base.load(lines[::order], on_error=OnError.STOP)
    assert (load.stopped, load.summary.created, load.summary.updated) == (False, 7, 2)
    (held,) = [said for what, _, said in await base.state() if what == "held"]
    assert (json.loads(held)["valid_from"], json.loads(held)["valid_to"]) == (day(3).isoformat(), day(5).isoformat())
    await base.sound()


async def test_names_are_handed_on_in_as_many_rounds_as_it_takes(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each product takes the name of the one before it, and the last is heard first."""
    monkeypatch.setattr(source, "BATCH", 1)
    uids = [UUID(int=100 + number) for number in range(6)]
    await base.load(a_product(uid, f"name {number + 1}", 0) for number, uid in enumerate(uids))
    load = await base.load([a_product(uid, f"name {number}", 1) for number, uid in enumerate(uids)][::-1])
    assert str(load.summary) == "created 0, updated 6, unchanged 0, rejected 0"


async def test_what_never_comes_is_a_fault_in_the_end_and_a_bad_line_ends_the_load_at_once(base: Base) -> None:
    waiting = [a_link(A, C, 1), an_end(C, 1), {"kind": "entity", "type": "ROBOT", "displayName": "R2"}]
    load = await base.load([*waiting, a_product(A, "a", 0)], on_error=OnError.STOP)
    assert (load.stopped, str(load.summary)) == (True, "created 1, updated 0, unchanged 0, rejected 3")
    assert [(it.line, it.field, it.code) for it in base.faults] == [
        (1, "target", "NOT_FOUND"),
        (2, "uid", "NOT_FOUND"),
        (3, "type", "BAD_INPUT"),
    ]
    load = await base.load([a_link(A, C, 1), {"kind": "product"}, a_product(B, "b", 0)], on_error=OnError.STOP)
    assert (load.stopped, str(load.summary)) == (True, "created 0, updated 0, unchanged 0, rejected 1")
    assert [it.line for it in base.faults] == [2]


async def test_a_product_that_is_meant_by_a_name_is_its_bearer_then_or_a_new_one_never_one_that_is_called_otherwise(
    base: Base,
) -> None:
    await base.load([a_product(A, "orders", 0), a_product(A, "sales", 2), a_product(None, "own", 0)])
    own = product_uid("own")
    load = await base.load([a_product(None, "orders", 1, owner="bo"), a_product(own, "renamed", 5), a_product(None, "own", 6)])
    assert str(load.summary) == "created 0, updated 2, unchanged 0, rejected 1"
    assert [(it.line, it.field, it.code) for it in base.faults] == [(3, "name", "NOT_FOUND")]


async def test_of_a_type_a_file_says_one_thing(base: Base) -> None:
    load = await base.load([TYPES[0], TYPES[0], {**TYPES[0], "label": "Other"}])
    assert str(load.summary) == "created 1, updated 0, unchanged 1, rejected 1"
    assert [(it.line, it.field, it.code) for it in base.faults] == [(3, "code", "CONFLICT")]
    again = await base.load([{**TYPES[0], "label": "Other"}])
    assert str(again.summary) == "created 0, updated 1, unchanged 0, rejected 0"


async def test_a_batch_takes_as_many_statements_whatever_its_size(base: Base) -> None:
    await base.load([*TYPES, *JOIN_TYPES])
    counts = []
    for size in (3, 60):
        space = f"{size} "
        uids = [uuid5(SPACE, f"{space}{number}") for number in range(size)]
        lines = [{**it, "label": str(size)} for it in TYPES]
        lines += [a_product(uid, f"{space}{uid}", 0) for uid in uids]
        lines += [
            {"kind": "entity", "type": "TABLE", "key": f"{space}{number}", "displayName": "x", "details": []}
            for number in range(size)
        ]
        lines += [a_link(uid, uids[number - 1], 1) for number, uid in enumerate(uids)]
        lines += [an_end(link_uid(uid, uids[number - 1], None), 2) for number, uid in enumerate(uids)]
        lines += [
            {
                "kind": "relationship",
                "type": type_,
                ends[0]: {"uid": str(uid)},
                ends[1]: {"entity": {"type": "TABLE", "key": f"{space}{number}"}},
                "at": iso(day(1)),
            }
            for number, uid in enumerate(uids)
            for type_, ends in (("seenIn", ("origin", "related")), ("home", ("related", "origin")))
        ]
        tables = [entity_uid_by_key("TABLE", f"{space}{number}") for number in range(size)]
        lines += [an_end(relationship_uid(HOME, *ends), 2) for ends in zip(tables, uids, strict=True)]
        lines += [an_end(uid, 3) for uid in uids]
        with recording(base.database) as statements:
            assert (await base.load(lines)).summary.rejected == 0
        counts.append(len(statements))
    assert counts[0] == counts[1]


@pytest.mark.idempotency
async def test_a_dry_run_counts_what_a_run_would_and_leaves_nothing(base: Base) -> None:
    lines = Random(1).sample(lines := Story(Random(4)).tell(60), len(lines))
    before = await base.state()
    dry = await base.load([*lines, a_link(A, B, 0)], dry_run=True)
    assert await base.state() == before == []
    assert str(dry.summary) == str((await base.load([*lines, a_link(A, B, 0)])).summary)
    assert dry.summary.rejected == 1


async def test_many_that_wait_do_so_in_a_file(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_IN_MEMORY", 1_000)
    links = [a_link(A, UUID(int=100 + number), 0, producer=f"p{number % 7}") for number in range(450)]
    products = [a_product(UUID(int=100 + number), f"n{number}", 0) for number in range(450)]
    load = await base.load([*links, *products, a_product(A, "a", 0)])
    assert str(load.summary) == "created 901, updated 0, unchanged 0, rejected 0"


@pytest.mark.temporal
async def test_two_loads_of_the_same_things_at_once_leave_a_sound_history(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "BATCH", 25)
    lines = Story(Random(5)).tell(80)
    other = Base(base.address, base.database)
    await asyncio.gather(base.load(lines), other.load(lines[::-1]))
    assert (base.faults, other.faults) == ([], [])
    await base.sound()


@pytest.mark.idempotency
async def test_a_load_that_was_killed_and_run_again_ends_in_the_state_of_a_clean_one(
    address: str, server: str, tmp_path: Path
) -> None:
    lines = [*TYPES, *(a_product(UUID(int=1_000 + number), f"p{number}", number % 50) for number in range(BATCH + 500))]
    lines += [a_link(UUID(int=1_000 + number), UUID(int=1_001 + number), 60) for number in range(1_000)]
    lines += [an_end(UUID(int=1_000 + number), 70) for number in range(0, 1_000, 3)]
    path = tmp_path / "lines.jsonl"
    path.write_bytes(in_lines(lines))
    connection = await asyncpg.connect(address)
    world = World(address, tmp_path, connection)

    async def begun() -> bool:
        return await world.count("change") > 0

    try:
        async with world.running("ingest", "jsonl", path) as command:
            await awaited(begun)
            command.process.kill()
            await command.process.wait()
        assert command.process.returncode == -signal.SIGKILL
        assert 0 < await world.count("change") < len(lines) - len(TYPES)
        again = await world.run("ingest", "jsonl", path)
        assert (again.process.returncode, sum(counted(again))) == (0, len(lines)), str(again.err)
        await world.sound()
    finally:
        await connection.close()
    async with base_on(server) as clean:
        await clean.load(lines)
        database = Database(address, pool_size=1)
        assert await clean.state() == await Base(address, database).state()
        await database.close()


async def test_the_command_says_what_it_did_and_names_what_it_refused(address: str, tmp_path: Path) -> None:
    connection = await asyncpg.connect(address)
    world = World(address, tmp_path, connection)
    path, rejects = tmp_path / "lines.jsonl", tmp_path / "rejects.csv"
    path.write_bytes(in_lines([a_link(A, B, 0), a_product(A, "a", 0), {"kind": "product"}]))
    try:
        command = await world.run("ingest", "jsonl", path, "--on-error", "skip", "--rejects", rejects)
    finally:
        await connection.close()
    assert (command.process.returncode, counted(command)) == (0, (1, 0, 0, 2))
    missing = f"There is no asset with the uid {B}."
    assert command.err.lines == ["line 3, field name: name is missing.", f"line 1, field target: {missing}"]
    assert rejects.read_text().splitlines() == [
        "line,field,code,reason",
        "3,name,BAD_INPUT,name is missing.",
        f"1,target,NOT_FOUND,{missing}",
    ]

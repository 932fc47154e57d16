"""`headwater ingest jsonl`: a load ends in the same state whatever the order of the file and however often it is repeated."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from uuid import UUID, uuid5

import pytest

from db.assets.entity_key import entity_uid_by_key
from db.assets.product import product_uid_by_name
from db.associations.reference import link_uid, relationship_uid
from db.bulk.ingest import BATCH
from db.database import Database
from graph_api.ingestion import source
from graph_api.ingestion.on_error import OnError
from tests.builders import day, iso
from tests.conftest import recording
from tests.graph_api.commands.workspace import counts_in, messages_in, workspace_on
from tests.graph_api.ingestion.lines import A, B, C, delete_line, link_line, product_line, to_jsonl
from tests.graph_api.ingestion.load_target import LoadTarget, load_target
from tests.graph_api.ingestion.random_histories import HOME, NAMESPACE, RELATIONSHIP_TYPES, TYPES, random_history
from tests.processes import wait_until
from tests.randomness import seeds


@pytest.fixture
async def target(server: str) -> AsyncIterator[LoadTarget]:
    async with load_target(server) as target:
        yield target


@pytest.mark.random
@pytest.mark.temporal
@pytest.mark.parametrize("seed", seeds(quick=8, soak=64))
async def test_a_shuffled_file_ends_in_the_state_of_the_ordered_one(
    server: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batches are so small that lines that depend on each other are in different ones."""
    random = Random(seed)
    lines = random_history(random, 90)
    async with load_target(server) as ordered, load_target(server) as shuffled:
        load = await ordered.load(lines)
        assert (ordered.errors, load.summary.rows) == ([], len(lines))
        state = await ordered.state()
        monkeypatch.setattr(source, "BATCH", 40)
        load = await shuffled.load(random.sample(lines, len(lines)))
        assert (shuffled.errors, load.summary.rows) == ([], len(lines))
        assert await shuffled.state() == state
        await shuffled.verify()
        # Another order, loaded over the same state, changes nothing.
        load = await shuffled.load(random.sample(lines, len(lines)))
        assert str(load.summary) == f"created 0, updated 0, unchanged {len(lines)}, rejected 0"
        assert await shuffled.state() == state


@pytest.mark.idempotency
@pytest.mark.parametrize("seed", range(3))
async def test_a_load_that_was_stopped_and_repeated_ends_in_the_state_of_an_undisturbed_one(
    server: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "BATCH", 20)
    lines = random_history(Random(seed), 90)
    async with load_target(server) as undisturbed, load_target(server) as stopped:
        await undisturbed.load(lines)
        for kept in (15, 35, 55):
            load = await stopped.load(lines, stop_after=kept)
            assert kept <= load.summary.rows < len(lines)
        await stopped.load(lines)
        assert await stopped.state() == await undisturbed.state()
        await stopped.verify()


@pytest.mark.constraints
async def test_names_are_swapped_within_a_batch_and_a_taken_name_rejects_only_its_own_row(target: LoadTarget) -> None:
    await target.load([product_line(A, "orders", 0), product_line(B, "sales", 0)])
    swap = [product_line(A, "sales", 1), product_line(B, "orders", 1)]
    others = [product_line(UUID(int=100 + number), f"other {number}", 1) for number in range(50)]
    taken = [product_line(C, "orders", 2), product_line(None, "fine", 2), product_line(UUID(int=13), "sales", 0.5)]
    load = await target.load([*taken, *others, *swap])
    assert str(load.summary) == "created 51, updated 2, unchanged 0, rejected 2"
    assert {(it.line, it.field, it.code) for it in target.errors} == {(1, "name", "CONFLICT"), (3, "name", "CONFLICT")}
    assets = {it.subject for it in await target.state() if it.part == "asset"}
    assert str(product_uid_by_name("fine")) in assets
    assert not {str(C), str(UUID(int=13))} & assets, "a rejected row leaves no asset behind"
    await target.verify()


async def test_a_rejected_future_instant_leaves_no_identity_behind(target: LoadTarget) -> None:
    await target.load([product_line(A, "a", 0), product_line(B, "b", 0)])
    before = await target.state()
    future = [product_line(C, "c", 100_000), link_line(A, B, 100_000), delete_line(A, 100_000), {**TYPES[0], "code": "X"}]
    load = await target.load(future)
    assert [it.field for it in target.errors] == ["at", "at", "at"]
    assert load.summary.created == 1
    assert [it for it in await target.state() if it.subject != "X"] == before


@pytest.mark.parametrize("order", [1, -1])
async def test_a_line_is_deferred_until_what_it_needs_is_loaded(
    target: LoadTarget, order: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each line needs the one before it, and is a batch by itself."""
    monkeypatch.setattr(source, "BATCH", 1)
    lines = [
        *TYPES,
        {"kind": "entity", "type": "TABLE", "key": "1", "displayName": "One", "at": iso(day(0))},
        product_line(A, "orders", 0),
        product_line(A, "sales", 2),
        product_line(B, "orders", 2),
        {**link_line(A, B, 3), "source": {"product": "orders"}, "target": {"entity": {"type": "TABLE", "key": "1"}}},
        delete_line(B, 5),
    ]
    load = await target.load(lines[::order], on_error=OnError.STOP)
    assert (load.failed, load.summary.created, load.summary.updated) == (False, 7, 2)
    (effective,) = [json.loads(it.content) for it in await target.state() if it.part == "effective"]
    assert (effective["valid_from"], effective["valid_to"]) == (day(3).isoformat(), day(5).isoformat())
    await target.verify()


async def test_deferred_lines_are_retried_as_often_as_it_takes(target: LoadTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each product takes the name of the one before it, and the last line comes first."""
    monkeypatch.setattr(source, "BATCH", 1)
    uids = [UUID(int=100 + number) for number in range(6)]
    await target.load(product_line(uid, f"name {number + 1}", 0) for number, uid in enumerate(uids))
    load = await target.load([product_line(uid, f"name {number}", 1) for number, uid in enumerate(uids)][::-1])
    assert str(load.summary) == "created 0, updated 6, unchanged 0, rejected 0"


async def test_a_deferred_line_is_rejected_at_the_end_and_a_bad_line_stops_the_load_at_once(target: LoadTarget) -> None:
    unresolvable = [link_line(A, C, 1), delete_line(C, 1), {"kind": "entity", "type": "ROBOT", "displayName": "R2"}]
    load = await target.load([*unresolvable, product_line(A, "a", 0)], on_error=OnError.STOP)
    assert (load.failed, str(load.summary)) == (True, "created 1, updated 0, unchanged 0, rejected 3")
    assert [(it.line, it.field, it.code) for it in target.errors] == [
        (1, "target", "NOT_FOUND"),
        (2, "uid", "NOT_FOUND"),
        (3, "type", "BAD_INPUT"),
    ]
    load = await target.load([link_line(A, C, 1), {"kind": "product"}, product_line(B, "b", 0)], on_error=OnError.STOP)
    assert (load.failed, str(load.summary)) == (True, "created 0, updated 0, unchanged 0, rejected 1")
    assert [it.line for it in target.errors] == [2]


async def test_a_product_without_uid_is_the_one_with_the_name_then_or_a_new_one_but_never_a_renamed_one(
    target: LoadTarget,
) -> None:
    await target.load([product_line(A, "orders", 0), product_line(A, "sales", 2), product_line(None, "own", 0)])
    own = product_uid_by_name("own")
    load = await target.load(
        [product_line(None, "orders", 1, owner="bo"), product_line(own, "renamed", 5), product_line(None, "own", 6)]
    )
    assert str(load.summary) == "created 0, updated 2, unchanged 0, rejected 1"
    assert [(it.line, it.field, it.code) for it in target.errors] == [(3, "name", "NOT_FOUND")]


async def test_a_file_may_state_a_type_in_only_one_way(target: LoadTarget) -> None:
    load = await target.load([TYPES[0], TYPES[0], {**TYPES[0], "label": "Other"}])
    assert str(load.summary) == "created 1, updated 0, unchanged 1, rejected 1"
    assert [(it.line, it.field, it.code) for it in target.errors] == [(3, "code", "CONFLICT")]
    changed = await target.load([{**TYPES[0], "label": "Other"}])
    assert str(changed.summary) == "created 0, updated 1, unchanged 0, rejected 0"


async def test_the_number_of_sql_statements_does_not_depend_on_the_size_of_a_batch(target: LoadTarget) -> None:
    await target.load([*TYPES, *RELATIONSHIP_TYPES])
    counts = []
    for size in (3, 60):
        prefix = f"{size} "
        uids = [uuid5(NAMESPACE, f"{prefix}{number}") for number in range(size)]
        lines = [{**it, "label": str(size)} for it in TYPES]
        lines += [product_line(uid, f"{prefix}{uid}", 0) for uid in uids]
        lines += [
            {"kind": "entity", "type": "TABLE", "key": f"{prefix}{number}", "displayName": "x", "details": []}
            for number in range(size)
        ]
        lines += [link_line(uid, uids[number - 1], 1) for number, uid in enumerate(uids)]
        lines += [delete_line(link_uid(uid, uids[number - 1], None), 2) for number, uid in enumerate(uids)]
        lines += [
            {
                "kind": "relationship",
                "type": type_,
                ends[0]: {"uid": str(uid)},
                ends[1]: {"entity": {"type": "TABLE", "key": f"{prefix}{number}"}},
                "at": iso(day(1)),
            }
            for number, uid in enumerate(uids)
            for type_, ends in (("seenIn", ("origin", "related")), ("home", ("related", "origin")))
        ]
        tables = [entity_uid_by_key("TABLE", f"{prefix}{number}") for number in range(size)]
        lines += [delete_line(relationship_uid(HOME, *ends), 2) for ends in zip(tables, uids, strict=True)]
        lines += [delete_line(uid, 3) for uid in uids]
        with recording(target.database) as statements:
            assert (await target.load(lines)).summary.rejected == 0
        counts.append(len(statements))
    assert counts[0] == counts[1] > 0


@pytest.mark.idempotency
async def test_a_dry_run_counts_as_a_run_does_and_keeps_nothing(target: LoadTarget) -> None:
    lines = Random(1).sample(lines := random_history(Random(4), 60), len(lines))
    before = await target.state()
    dry_run = await target.load([*lines, link_line(A, B, 0)], dry_run=True)
    assert await target.state() == before == []
    assert str(dry_run.summary) == str((await target.load([*lines, link_line(A, B, 0)])).summary)
    assert dry_run.summary.rejected == 1


async def test_a_dry_run_that_a_bad_line_stops_keeps_nothing(target: LoadTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "BATCH", 1)
    lines = [product_line(A, "a", 0), {"kind": "product"}, product_line(B, "b", 0)]
    dry_run = await target.load(lines, dry_run=True, on_error=OnError.STOP)
    assert (dry_run.failed, str(dry_run.summary)) == (True, "created 1, updated 0, unchanged 0, rejected 1")
    assert await target.state() == []


async def test_many_rows_are_deferred(target: LoadTarget) -> None:
    links = [link_line(A, UUID(int=100 + number), 0, producer=f"p{number % 7}") for number in range(450)]
    products = [product_line(UUID(int=100 + number), f"n{number}", 0) for number in range(450)]
    load = await target.load([*links, *products, product_line(A, "a", 0)])
    assert str(load.summary) == "created 901, updated 0, unchanged 0, rejected 0"


@pytest.mark.temporal
async def test_two_concurrent_loads_of_the_same_lines_leave_a_sound_history(
    target: LoadTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "BATCH", 25)
    lines = random_history(Random(5), 80)
    other = LoadTarget(target.address, target.database)
    await asyncio.gather(target.load(lines), other.load(lines[::-1]))
    assert (target.errors, other.errors) == ([], [])
    await target.verify()


@pytest.mark.idempotency
@pytest.mark.slow(12)
async def test_a_load_that_was_killed_and_repeated_ends_in_the_state_of_an_undisturbed_one(
    address: str, server: str, tmp_path: Path
) -> None:
    lines = [*TYPES, *(product_line(UUID(int=1_000 + number), f"p{number}", number % 50) for number in range(BATCH + 500))]
    lines += [link_line(UUID(int=1_000 + number), UUID(int=1_001 + number), 60) for number in range(1_000)]
    lines += [delete_line(UUID(int=1_000 + number), 70) for number in range(0, 1_000, 3)]
    async with workspace_on(address, tmp_path) as workspace:
        file = workspace.file(to_jsonl(lines))

        async def has_committed() -> bool:
            return await workspace.count("change") > 0

        async with workspace.start("ingest", "jsonl", file) as command:
            await wait_until(has_committed)
            command.process.kill()
            assert await command.exit_code() == -signal.SIGKILL
        assert 0 < await workspace.count("change") < len(lines) - len(TYPES)
        repeated = await workspace.run("ingest", "jsonl", file)
        assert (repeated.code, sum(counts_in(repeated))) == (0, len(lines)), repeated.err
        await workspace.verify()
    async with load_target(server) as undisturbed:
        await undisturbed.load(lines)
        database = Database(address, pool_size=1)
        assert await undisturbed.state() == await LoadTarget(address, database).state()
        await database.close()


async def test_the_command_counts_its_rows_and_names_the_rejected_ones(address: str, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.csv"
    async with workspace_on(address, tmp_path) as workspace:
        file = workspace.file(to_jsonl([link_line(A, B, 0), product_line(A, "a", 0), {"kind": "product"}]))
        result = await workspace.run("ingest", "jsonl", file, "--on-error", "skip", "--rejects", rejects)
    assert (result.code, counts_in(result)) == (0, (1, 0, 0, 2))
    missing = f"There is no asset with the uid {B}."
    assert messages_in(result) == ["line 3, field name: name is missing.", f"line 1, field target: {missing}"]
    assert rejects.read_text().splitlines() == [
        "line,field,code,reason",
        "3,name,BAD_INPUT,name is missing.",
        f"1,target,NOT_FOUND,{missing}",
    ]

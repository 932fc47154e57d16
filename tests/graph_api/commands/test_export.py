"""`headwater export jsonl`: loaded elsewhere, an export answers as the original at every instant."""

import asyncio
import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import pytest

from db.associations import lineage_link
from db.associations.reference import link_uid
from db.author import Author
from db.instants import write_instant
from db.sql import text
from graph_api import demo
from graph_api.ingestion.jsonl_writer import lines
from tests.builders import day
from tests.graph_api.commands.workspace import counts_in, workspace_on
from tests.graph_api.ingestion.lines import A, B, delete_line, link_line, product_line, to_jsonl
from tests.graph_api.ingestion.load_target import LoadTarget, Stored, load_target
from tests.graph_api.ingestion.random_histories import random_history


async def export_from(target: LoadTarget, as_of: datetime | None = None) -> list[dict[str, Any]]:
    async with target.database.snapshot(1) as connection:
        return [json.loads(line) async for line in lines(connection, as_of)]


async def readable_state(target: LoadTarget) -> list[Stored]:
    """Return everything that reads depend on: the state without the change log."""
    return [it for it in await target.state() if it.part != "change"]


def in_order(exported: Iterable[dict[str, Any]]) -> list[str]:
    """Return lines in an order that does not depend on ids."""
    return sorted(json.dumps(it, sort_keys=True) for it in exported)


@pytest.mark.temporal
@pytest.mark.parametrize("seed", range(3))
async def test_a_history_loaded_elsewhere_answers_alike_at_every_instant(server: str, seed: int) -> None:
    async with load_target(server) as original, load_target(server) as copy:
        random = Random(seed)
        history = random_history(random, 120)
        await original.load(random.sample(history, len(history)))
        assert original.errors == []
        exported = await export_from(original)
        await copy.load(exported)
        assert copy.errors == []
        assert await readable_state(copy) == await readable_state(original)
        for number in (random.uniform(-1, 125) for _ in range(10)):
            assert in_order(await export_from(copy, day(number))) == in_order(await export_from(original, day(number)))
        assert in_order(await export_from(copy)) == in_order(exported)
        await copy.verify()


@pytest.mark.temporal
async def test_the_demo_with_its_patches_and_late_changes_is_the_same_elsewhere(server: str) -> None:
    async with load_target(server) as original, load_target(server) as copy:
        await demo.load(original.database)
        load = await copy.load(await export_from(original))
        assert copy.errors == []
        # Only repeated observations of links change nothing.
        assert 0 < load.summary.unchanged < sum(map(len, (await observations(original)).values()))
        assert await observations(copy) == await observations(original)
        assert await readable_state(copy) == await readable_state(original)


@pytest.mark.temporal
async def test_updates_of_a_link_are_exported_as_whole_states(server: str) -> None:
    async with load_target(server) as original, load_target(server) as copy:
        await original.load(
            [product_line(A, "a", 0), product_line(B, "b", 0), link_line(A, B, 1, type="DERIVED", confidence=0.5)]
        )
        uid = link_uid(A, B, None)
        async with original.database.transaction(1, Author("editor")) as connection:
            await lineage_link.update(connection, uid, {"confidence": 0.75}, at=day(2))
            await lineage_link.update(connection, uid, {"metadata": {"a": 1}}, at=day(4))
            await lineage_link.restore(connection, uid, at=day(6))
            # the update of the fourth day has no effect any more
            await lineage_link.remove(connection, uid, at=day(3))
        exported = await export_from(original)
        await copy.load(exported)
        assert copy.errors == []
        assert await readable_state(copy) == await readable_state(original)
        await original.verify()


async def observations(target: LoadTarget) -> dict[UUID, list[datetime]]:
    """Return the instants at which each link was stated."""
    statement = text(
        "SELECT l.uid, array_agg(DISTINCT c.change_ts) AS instants FROM change c JOIN lineage_link l ON l.id = c.subject_id"
        " WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = 'LINK' AND c.operation = 'SET' GROUP BY l.uid"
    )
    async with target.database.snapshot(1) as connection:
        return {row.uid: sorted(row.instants) for row in await connection.fetch(statement)}


@pytest.mark.temporal
async def test_repeated_observations_of_a_link_are_exported(server: str) -> None:
    async with load_target(server) as original, load_target(server) as copy:
        history = [product_line(A, "a", 0), product_line(B, "b", 0), *(link_line(A, B, number) for number in (1, 2, 5))]
        await original.load([*history, delete_line(link_uid(A, B, None), 7), link_line(A, B, 9)])
        await copy.load(await export_from(original))
        assert copy.errors == []
        expected = {link_uid(A, B, None): [day(it) for it in (1, 2, 5, 9)]}
        assert await observations(copy) == await observations(original) == expected
        assert await readable_state(copy) == await readable_state(original)


@pytest.mark.temporal
async def test_a_link_is_effective_again_elsewhere_when_its_end_is_restored(server: str) -> None:
    """The export holds what was asserted, not what was effective: the link was asserted while its target was deleted."""
    async with load_target(server) as original, load_target(server) as copy:
        history = [product_line(A, "a", 0), product_line(B, "b", 0), link_line(A, B, 1)]
        history += [delete_line(B, 2), product_line(B, "b", 5), delete_line(B, 7)]
        await original.load(history)
        await copy.load(await export_from(original))
        for target in (original, copy):
            await target.load([product_line(B, "b again", 9)])
        assert await readable_state(copy) == await readable_state(original)
        assert len([it for it in await readable_state(copy) if it.part == "effective"]) == 3


@pytest.mark.temporal
async def test_a_link_whose_end_was_deleted_late_is_exported_all_the_same(server: str) -> None:
    """The link begins while its target is deleted, and is effective once that is restored, in any order of the lines."""
    async with load_target(server) as original, load_target(server) as copy, load_target(server) as backwards:
        history = [
            product_line(A, "a", 0),
            product_line(B, "b", 0),
            link_line(A, B, 5),
            delete_line(B, 4),
            product_line(B, "b", 8),
        ]
        await original.load(history[:3])
        await original.load(history[3:])
        await copy.load(await export_from(original))
        await backwards.load(history[::-1])
        assert (original.errors, copy.errors, backwards.errors) == ([], [], [])
        assert await readable_state(copy) == await readable_state(original)
        assert await backwards.state() == await original.state()


@pytest.mark.temporal
@pytest.mark.parametrize("seed", range(3))
async def test_an_export_of_an_instant_holds_elsewhere_from_then_on(server: str, seed: int) -> None:
    async with load_target(server) as original, load_target(server) as copy:
        await original.load(random_history(Random(seed), 120))
        exported = await export_from(original, day(80))
        assert {it["kind"] for it in exported} == {
            *("entityType", "detailType", "relationshipType", "product", "entity", "link", "relationship")
        }
        load = await copy.load(exported)
        assert (copy.errors, load.summary.created) == ([], len(exported))
        # In the copy a link is effective from the instants of its ends.
        undated = [[{**it, "at": None} for it in content] for content in (await export_from(copy, day(80)), exported)]
        assert in_order(undated[0]) == in_order(undated[1])


async def test_an_asset_that_never_existed_and_its_link_are_not_exported(server: str) -> None:
    """The asset was deleted at the instant at which it began."""
    async with load_target(server) as target:
        await target.load([product_line(A, "a", 0), product_line(B, "b", 1), link_line(A, B, 1)])
        await target.load([delete_line(B, 1)])
        assert [it["kind"] for it in await export_from(target)] == ["product"]


async def test_the_command_writes_a_file_that_appears_when_it_is_complete(address: str, server: str, tmp_path: Path) -> None:
    file, copy = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    file.write_bytes(to_jsonl(random_history(Random(7), 60)))
    async with workspace_on(address, tmp_path) as workspace:
        assert counts_in(await workspace.run("ingest", "jsonl", file))[3] == 0
        written = await workspace.run("export", "jsonl", copy)
        printed, at_instant = await asyncio.gather(
            workspace.run_process("export", "jsonl"),
            workspace.run_process("export", "jsonl", "--as-of", write_instant(day(40))),
        )
        assert (await workspace.error("export", "jsonl", "--as-of", "soon")).startswith("'soon' is not an instant.")
        nowhere = tmp_path / "nowhere" / "out.jsonl"
        assert await workspace.error("export", "jsonl", nowhere) == f"{nowhere} cannot be used: No such file or directory."
    exported = copy.read_text().splitlines()
    assert (written.code, written.out, written.err[-1]) == (0, [], f"{len(exported)} lines.")
    assert printed.out == exported
    assert 0 < len(at_instant.out) < len(exported)
    assert sorted(it.name for it in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]
    async with load_target(server) as target:
        await target.load([json.loads(line) for line in exported])
        assert target.errors == []
        assert in_order(await export_from(target)) == in_order([json.loads(line) for line in exported])

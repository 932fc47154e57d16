"""`headwater export jsonl`: what is written answers as the database does, at every instant, once it is loaded elsewhere."""

import asyncio
import json
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import text

from db.associations.lineage_link import link_uid
from db.instants import write_instant
from graph_api import demo
from graph_api.ingestion.jsonl_writer import lines
from tests.builders import day
from tests.graph_api.commands.test_ingest_csv import World, counted
from tests.graph_api.commands.test_ingest_jsonl import A, B, Base, a_link, a_product, an_end, base_on, in_lines
from tests.graph_api.ingestion.random_histories import Story


async def exported(base: Base, as_of: datetime | None = None) -> list[dict[str, Any]]:
    async with base.database.snapshot(1) as connection:
        return [json.loads(line) async for line in lines(connection, as_of)]


async def held(base: Base) -> list[Any]:
    """All that any reading can meet, but for what the log alone says."""
    return [it for it in await base.state() if it[0] != "log"]


def in_order(said: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(it, sort_keys=True) for it in said)


@pytest.mark.temporal
@pytest.mark.parametrize("seed", range(3))
async def test_a_history_that_is_loaded_elsewhere_answers_alike_at_every_instant(server: str, seed: int) -> None:
    async with base_on(server) as here, base_on(server) as there:
        random = Random(seed)
        told = Story(random).tell(120)
        await here.load(random.sample(told, len(told)))
        assert here.faults == []
        said = await exported(here)
        await there.load(said)
        assert there.faults == []
        assert await held(there) == await held(here)
        for number in (random.uniform(-1, 125) for _ in range(10)):
            assert in_order(await exported(there, day(number))) == in_order(await exported(here, day(number)))
        assert in_order(await exported(there)) == in_order(said)
        await there.sound()


@pytest.mark.temporal
async def test_the_demo_with_its_patches_and_late_news_is_the_same_elsewhere(server: str) -> None:
    async with base_on(server) as here, base_on(server) as there:
        await demo.load(here.database)
        load = await there.load(await exported(here))
        assert there.faults == []
        # what changes nothing is what was said once more of links
        assert 0 < load.summary.unchanged < sum(map(len, (await seen(here)).values()))
        assert await seen(there) == await seen(here)
        assert await held(there) == await held(here)


async def seen(base: Base) -> dict[UUID, list[datetime]]:
    """When each link was said to be so."""
    said = text(
        "SELECT l.uid, array_agg(DISTINCT c.change_ts) AS instants FROM change c JOIN lineage_link l ON l.id = c.subject_id"
        " WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = 'LINK' AND c.operation = 'SET' GROUP BY l.uid"
    )
    async with base.database.snapshot(1) as connection:
        return {row.uid: sorted(row.instants) for row in await connection.fetch(said)}


@pytest.mark.temporal
async def test_a_link_that_was_seen_again_was_seen_elsewhere_too(server: str) -> None:
    async with base_on(server) as here, base_on(server) as there:
        told = [a_product(A, "a", 0), a_product(B, "b", 0), *(a_link(A, B, number) for number in (1, 2, 5))]
        await here.load([*told, an_end(link_uid(A, B, None), 7), a_link(A, B, 9)])
        await there.load(await exported(here))
        assert there.faults == []
        assert await seen(there) == await seen(here) == {link_uid(A, B, None): [day(it) for it in (1, 2, 5, 9)]}
        assert await held(there) == await held(here)


@pytest.mark.temporal
async def test_a_link_returns_elsewhere_as_it_would_here_when_an_end_does(server: str) -> None:
    """What was asserted is written, not what held: the link was there all the time, its target was not."""
    async with base_on(server) as here, base_on(server) as there:
        told = [a_product(A, "a", 0), a_product(B, "b", 0), a_link(A, B, 1), an_end(B, 2), a_product(B, "b", 5), an_end(B, 7)]
        await here.load(told)
        await there.load(await exported(here))
        for base in (here, there):
            await base.load([a_product(B, "b again", 9)])
        assert await held(there) == await held(here)
        assert len([it for it in await held(there) if it[0] == "held"]) == 3


@pytest.mark.temporal
async def test_a_link_that_lost_an_end_by_late_news_is_told_all_the_same(server: str) -> None:
    """It begins while its target is away, and holds when that is back; told in any order."""
    async with base_on(server) as here, base_on(server) as there, base_on(server) as backwards:
        told = [a_product(A, "a", 0), a_product(B, "b", 0), a_link(A, B, 5), an_end(B, 4), a_product(B, "b", 8)]
        await here.load(told[:3])
        await here.load(told[3:])
        await there.load(await exported(here))
        await backwards.load(told[::-1])
        assert (here.faults, there.faults, backwards.faults) == ([], [], [])
        assert await held(there) == await held(here)
        assert await backwards.state() == await here.state()


@pytest.mark.temporal
@pytest.mark.parametrize("seed", range(3))
async def test_what_holds_at_an_instant_holds_elsewhere_then(server: str, seed: int) -> None:
    async with base_on(server) as here, base_on(server) as there:
        await here.load(Story(Random(seed)).tell(120))
        said = await exported(here, day(80))
        assert {it["kind"] for it in said} == {
            *("entityType", "detailType", "relationshipType", "product", "entity", "link", "relationship")
        }
        load = await there.load(said)
        assert (there.faults, load.summary.created) == ([], len(said))
        # a link holds there as soon as what is known of its ends does
        undated = [[{**it, "at": None} for it in told] for told in (await exported(there, day(80)), said)]
        assert in_order(undated[0]) == in_order(undated[1])


async def test_what_was_never_there_is_not_told(server: str) -> None:
    """An asset that ended as it began, and a link to it: nobody who reads could ever have met them."""
    async with base_on(server) as here:
        await here.load([a_product(A, "a", 0), a_product(B, "b", 1), a_link(A, B, 1)])
        await here.load([an_end(B, 1)])
        said = await exported(here)
        assert [it["kind"] for it in said] == ["product"]


async def test_the_command_writes_a_file_that_is_there_once_it_is_whole(address: str, server: str, tmp_path: Path) -> None:
    connection = await asyncpg.connect(address)
    world = World(address, tmp_path, connection)
    try:
        path, copy = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
        told = Story(Random(7)).tell(60)
        path.write_bytes(in_lines(told))
        assert counted(await world.run("ingest", "jsonl", path))[3] == 0
        written, printed, then, wrong, nowhere = await asyncio.gather(
            world.run("export", "jsonl", copy),
            world.run("export", "jsonl"),
            world.run("export", "jsonl", "--as-of", write_instant(day(40))),
            world.run("export", "jsonl", "--as-of", "soon"),
            world.run("export", "jsonl", tmp_path / "nowhere" / "out.jsonl"),
        )
    finally:
        await connection.close()
    said = copy.read_text().splitlines()
    assert (written.process.returncode, written.err.lines) == (0, [f"{len(said)} lines."])
    assert printed.out.lines == said
    assert 0 < len(then.out.lines) < len(said)
    assert wrong.err.lines[0].startswith("error: 'soon' is not an instant.")
    assert nowhere.err.lines == [f"error: {tmp_path}/nowhere/out.jsonl cannot be used: No such file or directory."]
    assert sorted(it.name for it in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]
    async with base_on(server) as there:
        await there.load([json.loads(line) for line in said])
        assert there.faults == []
        assert in_order(await exported(there)) == in_order([json.loads(line) for line in said])

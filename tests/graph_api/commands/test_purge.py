"""`headwater purge` as it is run: what it says, what is left of a service's answers, and of a purge that is stopped or killed."""

import io
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from rich.console import Console
from sqlalchemy import make_url, text

from db.author import Author
from db.bulk import purge as purge_steps
from db.bulk.purge import MAX_ASSETS, PurgeCursor, purge_step
from db.errors import Timeout
from graph_api.commands import purge
from graph_api.commands.purge import Purge
from graph_api.ingestion.progress import Progress, described
from tests.builders import DELETE, REGISTER, Api, day, iso, product_fields
from tests.graph_api.commands.test_export import exported, held
from tests.graph_api.commands.test_ingest_csv import World, ended, queued, world_at
from tests.graph_api.commands.test_ingest_jsonl import Base, a_link, a_product, an_end, base_on
from tests.graph_api.commands.test_process import Command, awaited
from tests.graph_api.ingestion.random_histories import Story

RAW, CLEAN, REPORT = (UUID(int=number) for number in range(1, 4))
NOW = "UPDATE tenant SET retention_days = 0 WHERE tenant_id = 1"


@pytest.fixture
async def base(server: str) -> AsyncIterator[Base]:
    async with base_on(server) as base:
        yield base


@pytest.fixture
async def world(base: Base, tmp_path: Path) -> AsyncIterator[World]:
    async with world_at(base.address, tmp_path) as world:
        yield world


async def purge_all(address: str) -> None:
    """In this process, and whatever has ended."""
    owner = await asyncpg.connect(address)
    await owner.execute(NOW)
    await owner.close()
    place: PurgeCursor | None = PurgeCursor()
    while place is not None:
        place = (await purge_step(address, 1, Author("purger", None, "purge"), place)).next


async def said(world: World, *arguments: str) -> list[str]:
    command = await world.run("purge", *arguments)
    assert command.process.returncode == 0, str(command.err)
    return command.out.lines


async def test_the_example_in_the_documentation_ends_as_the_page_says(world: World, base: Base) -> None:
    join = {"kind": "relationship", "type": "steward", "origin": {"uid": str(CLEAN)}, "related": {"uid": str(RAW)}}
    type_ = {"kind": "relationshipType", "key": "steward", "reverseKey": "stewardOf", "origin": "PRODUCT", "related": "PRODUCT"}
    await base.load(
        [
            *(a_product(uid, name, 0) for uid, name in ((RAW, "raw"), (CLEAN, "clean"), (REPORT, "report"))),
            *(a_link(*ends, 1) for ends in ((RAW, CLEAN), (CLEAN, REPORT), (RAW, REPORT))),
            {**type_, "cardinality": "MANY_TO_MANY"},
            {**join, "at": iso(day(1))},
            an_end(CLEAN, 5),
        ]
    )
    assert base.faults == []
    await world.connection.execute(NOW)
    page = (Path(__file__).parents[3] / "docs/retention.md").read_text()
    example = re.search(r"\$ headwater purge --dry-run\n(.*?)\n\$ headwater purge\n(.*?)\n", page)
    assert example
    assert await said(world, "--dry-run") == [example[1]]
    assert await said(world) == [example[2]]
    await base.sound()


async def test_each_tenant_is_told_of_and_one_can_be_named(world: World) -> None:
    await world.connection.execute("INSERT INTO tenant (name, retention_days) VALUES ('keeps', NULL), ('shop', 30)")
    await world.connection.execute(NOW)
    nothing = "0 products, 0 entities, 0 links, 0 relationships and 0 changes removed."
    kept = "keeps: has no retention, so deleted assets are kept forever."
    assert await said(world) == [f"default: {nothing}", kept, f"shop: {nothing}"]
    assert await said(world, "--tenant", "keeps") == [kept]
    refused = await world.run("purge", "--tenant", "shoq")
    assert refused.process.returncode == 1
    assert refused.err.lines == ["error: There is no tenant called 'shoq'. There are: default, keeps, shop."]


@pytest.mark.parametrize("rights", ["GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}", "GRANT headwater_service TO {}"])
async def test_who_does_not_own_the_tables_is_told_so_in_one_line(world: World, base: Base, rights: str) -> None:
    role = f"somebody_{uuid4().hex}"
    await base.load([a_product(RAW, "raw", 0), an_end(RAW, 1)])
    await world.connection.execute(f"{NOW}; CREATE ROLE {role} LOGIN BYPASSRLS; {rights.format(role)}")
    owner = world.address
    world.address = make_url(owner).set(username=role).render_as_string(hide_password=False)
    try:
        refused = await world.run("purge")
    finally:
        await world.connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert refused.process.returncode == 1
    (line,) = refused.err.lines
    assert line.startswith("error: This database user lacks a privilege: ")
    assert line.endswith(". Use the user that owns the tables.")
    assert await world.count("asset") == 1


async def half_purged(world: World, base: Base) -> tuple[asyncpg.Connection, Any]:
    """More assets than one transaction removes, of which somebody holds the last that ended."""
    uids = [UUID(int=number + 1) for number in range(MAX_ASSETS + 100)]
    await base.load(a_product(uid, f"p{uid.int}", 0) for uid in uids)
    await base.load([*(a_link(RAW, uid, 1) for uid in uids[1:]), *(an_end(uid, 2 + uid.int / 1000) for uid in uids)])
    assert base.faults == []
    await world.connection.execute(NOW)
    holder = await asyncpg.connect(world.address)
    holding = holder.transaction()
    await holding.start()
    await holder.execute("SELECT FROM asset WHERE uid = $1 FOR UPDATE", uids[-1])
    return holder, holding


async def rest_is_removed(world: World, base: Base, holding: Any) -> None:
    """What was not kept is there still, all that is left is sound, and the next removes it."""
    assert await world.count("asset") == 100
    await base.sound()
    await holding.rollback()
    await purge_all(base.address)
    assert await world.count("asset") == await world.count("change") == 0
    await base.sound()


async def test_a_purge_that_was_killed_leaves_nothing_crooked_and_the_next_finishes(world: World, base: Base) -> None:
    holder, holding = await half_purged(world, base)
    async with world.running("purge") as command:
        await waiting_behind(world, command)
        command.process.kill()
        await command.process.wait()
    await rest_is_removed(world, base, holding)
    await holder.close()


async def test_a_purge_that_is_told_to_stop_says_what_it_removed(world: World, base: Base) -> None:
    holder, holding = await half_purged(world, base)
    async with world.running("purge") as command:
        await waiting_behind(world, command)
        command.process.send_signal(signal.SIGINT)
        assert await ended(command) == 128 + signal.SIGINT
    assert command.out.lines[0].startswith(f"default: {MAX_ASSETS} products")
    assert command.err.lines == ["Interrupted. What is counted is removed permanently; run the purge again to remove the rest."]
    await rest_is_removed(world, base, holding)
    await holder.close()


async def waiting_behind(world: World, command: Command) -> None:
    await awaited(lambda: queued(world.address))
    assert command.runs
    # what is kept of it is the first transaction
    assert await world.count("asset") == 100


async def test_a_purge_that_is_held_up_for_long_says_what_it_removed_and_what_to_do(
    world: World, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, holding = await half_purged(world, base)
    monkeypatch.setattr(purge, "ATTEMPTS", 2)
    monkeypatch.setattr(purge_steps, "_SET_TIMEOUTS", text(str(purge_steps._SET_TIMEOUTS).replace("2s", "20ms")))
    heard: list[str] = []
    purging = Purge(
        world.address, Author("purger"), report=heard.append, progress=lambda total: Progress(Console(file=io.StringIO()), total)
    )
    with pytest.raises(Timeout, match="Run the purge again later"):
        await purging.run(None, dry_run=False)
    assert [it[: it.index(" products")] for it in heard] == [f"default: {MAX_ASSETS}"]
    await rest_is_removed(world, base, holding)
    await holder.close()


@pytest.mark.temporal
async def test_no_reading_as_of_any_instant_finds_what_was_purged(api: Api, address: str) -> None:
    orders, raw = await api.register("orders"), await api.register("raw")
    await api.link("raw", "orders", at=day(1))
    query = """
      query ($orders: ID!, $raw: ID!, $uid: UUID!, $at: DateTime!, $from: DateTime!, $to: DateTime!) {
        then: products(asOf: $at) { nodes { name } }
        byId: node(id: $orders) { id } byUid: asset(uid: $uid, asOf: $at) { id }
        changes(from: $from, to: $to) { nodes { uid } } raw: node(id: $raw) { ... on Product { history { totalCount }
          downstream(asOf: $at) { totalCount } } }
      }
    """
    asked = {
        "orders": orders["id"],
        "raw": raw["id"],
        "uid": orders["uid"],
        "at": iso(day(2)),
        "from": iso(day(-1)),
        "to": iso(day(9)),
    }
    before = (await api(query, **asked)).data
    assert [it["name"] for it in before["then"]["nodes"]] == ["orders", "raw"]
    assert before["raw"]["downstream"] == {"totalCount": 1}
    assert {it["uid"] for it in before["changes"]["nodes"]} == {orders["uid"], raw["uid"]}
    assert (await api(DELETE, input={"uid": orders["uid"], "at": iso(day(3))})).data
    await purge_all(address)
    after = (await api(query, **asked)).data
    assert after["then"] == {"nodes": [{"name": "raw"}]}
    assert (after["byId"], after["byUid"]) == (None, None)
    assert after["changes"] == {"nodes": [{"uid": raw["uid"]}]}
    assert after["raw"] == {"history": before["raw"]["history"], "downstream": {"totalCount": 0}}


@pytest.mark.idempotency
async def test_a_request_that_is_repeated_after_the_purge_is_not_done_again(api: Api, address: str) -> None:
    registering = {**product_fields("orders"), "at": iso(day(0)), "idempotencyKey": "once"}
    orders = (await api(REGISTER, input=registering)).data["registerProduct"]["product"]
    ending = {"uid": orders["uid"], "at": iso(day(3)), "idempotencyKey": "end"}
    ended_ = (await api(DELETE, input=ending)).data
    await purge_all(address)
    assert (await api(REGISTER, input=registering)).code_and_field == ("NOT_FOUND", "at")
    assert (await api(DELETE, input=ending)).data == ended_
    assert (await api("{ products { nodes { name } } }")).data == {"products": {"nodes": []}}


@pytest.mark.temporal
async def test_what_a_purge_has_left_is_the_same_elsewhere(server: str) -> None:
    async with base_on(server) as here, base_on(server) as there:
        await here.load(Story(Random(7)).tell(120))
        owner = await asyncpg.connect(here.address)
        count = "SELECT count(*) FROM asset"
        before = await owner.fetchval(count)
        await purge_all(here.address)
        assert await owner.fetchval(count) < before
        await owner.close()
        await here.sound()
        await there.load(await exported(here))
        assert there.faults == []
        assert await held(there) == await held(here)


def test_progress_is_of_what_it_is_told() -> None:
    assert described(240_000, 240_000, 960_000, 8, of="changes") == "240 000 changes, 30 000 changes/s, 25 %, about 24 s left"

"""`headwater purge`: its report, the reads of a service afterwards, and what is left of a purge that is stopped or killed."""

import io
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

import asyncpg
import pytest
from rich.console import Console
from sqlalchemy import make_url

from db.author import Author
from db.bulk import purge as purge_steps
from db.bulk.purge import MAX_ASSETS, PurgeCursor, purge_step
from db.errors import Timeout
from db.sql import text
from graph_api.commands import purge
from graph_api.commands.purge import Purge
from graph_api.ingestion.progress import Progress, describe
from tests.builders import DELETE, REGISTER, Api, day, iso, product_fields
from tests.graph_api.commands.test_export import export_from, readable_state
from tests.graph_api.commands.workspace import Workspace, waits_for_lock, workspace_on
from tests.graph_api.ingestion.lines import delete_line, link_line, product_line
from tests.graph_api.ingestion.load_target import LoadTarget, load_target
from tests.graph_api.ingestion.random_histories import random_history
from tests.processes import CommandProcess, wait_until

RAW, CLEAN, REPORT = (UUID(int=number) for number in range(1, 4))
RETAIN_NOTHING = "UPDATE tenant SET retention_days = 0 WHERE tenant_id = 1"
# Assets that remain when the first transaction of a purge is committed.
REMAINING = 100


@pytest.fixture
async def target(server: str) -> AsyncIterator[LoadTarget]:
    async with load_target(server) as target:
        yield target


@pytest.fixture
async def workspace(target: LoadTarget, tmp_path: Path) -> AsyncIterator[Workspace]:
    async with workspace_on(target.address, tmp_path) as workspace:
        yield workspace


async def purge_all(address: str) -> None:
    """Purge everything that is deleted, in this process."""
    owner = await asyncpg.connect(address)
    await owner.execute(RETAIN_NOTHING)
    await owner.close()
    cursor: PurgeCursor | None = PurgeCursor()
    while cursor is not None:
        cursor = (await purge_step(address, 1, Author("purger", None, "purge"), cursor)).next


async def test_the_documented_example_gives_the_documented_output(workspace: Workspace, target: LoadTarget) -> None:
    type_ = {"kind": "relationshipType", "key": "steward", "reverseKey": "stewardOf", "origin": "PRODUCT", "related": "PRODUCT"}
    relationship = {"kind": "relationship", "type": "steward", "origin": {"uid": str(CLEAN)}, "related": {"uid": str(RAW)}}
    await target.load(
        [
            *(product_line(uid, name, 0) for uid, name in ((RAW, "raw"), (CLEAN, "clean"), (REPORT, "report"))),
            *(link_line(*ends, 1) for ends in ((RAW, CLEAN), (CLEAN, REPORT), (RAW, REPORT))),
            {**type_, "cardinality": "MANY_TO_MANY"},
            {**relationship, "at": iso(day(1))},
            delete_line(CLEAN, 5),
        ]
    )
    assert target.errors == []
    await workspace.connection.execute(RETAIN_NOTHING)
    page = (Path(__file__).parents[3] / "docs/retention.md").read_text()
    example = re.search(r"\$ headwater purge --dry-run\n(.*?)\n\$ headwater purge\n(.*?)\n", page)
    assert example
    assert await workspace("purge", "--dry-run") == [example[1]]
    assert await workspace("purge") == [example[2]]
    await target.verify()


async def test_each_tenant_is_reported_and_one_can_be_named(workspace: Workspace) -> None:
    await workspace.connection.execute("INSERT INTO tenant (name, retention_days) VALUES ('keeps', NULL), ('shop', 30)")
    await workspace.connection.execute(RETAIN_NOTHING)
    nothing = "0 products, 0 entities, 0 links, 0 relationships and 0 changes removed."
    kept = "keeps: has no retention, so deleted assets are kept forever."
    assert await workspace("purge") == [f"default: {nothing}", kept, f"shop: {nothing}"]
    assert await workspace("purge", "--tenant", "keeps") == [kept]
    message = await workspace.error("purge", "--tenant", "shoq")
    assert message == "There is no tenant called 'shoq'. There are: default, keeps, shop."


@pytest.mark.parametrize("privileges", ["GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}", "GRANT headwater_service TO {}"])
async def test_a_user_that_does_not_own_the_tables_gets_one_line(
    workspace: Workspace, target: LoadTarget, privileges: str
) -> None:
    role = f"somebody_{uuid4().hex}"
    await target.load([product_line(RAW, "raw", 0), delete_line(RAW, 1)])
    await workspace.connection.execute(f"{RETAIN_NOTHING}; CREATE ROLE {role} LOGIN BYPASSRLS; {privileges.format(role)}")
    address = make_url(workspace.address).set(username=role).render_as_string(hide_password=False)
    try:
        result = await workspace.run("purge", database_url=address)
    finally:
        await workspace.connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert result.code == 1
    (line,) = result.err
    assert line.startswith("error: This database user lacks a privilege: ")
    assert line.endswith(". Use the user that owns the tables.")
    assert await workspace.count("asset") == 1


@asynccontextmanager
async def last_asset_locked(workspace: Workspace, target: LoadTarget) -> AsyncIterator[None]:
    """Delete more assets than one transaction removes, and lock the last one against the purge during the block.

    Afterwards, what the purge did not commit is still stored and sound, and the next purge removes it.
    """
    uids = [UUID(int=number + 1) for number in range(MAX_ASSETS + REMAINING)]
    await target.load(product_line(uid, f"p{uid.int}", 0) for uid in uids)
    await target.load([*(link_line(RAW, uid, 1) for uid in uids[1:]), *(delete_line(uid, 2 + uid.int / 1000) for uid in uids)])
    assert target.errors == []
    await workspace.connection.execute(RETAIN_NOTHING)
    holder = await asyncpg.connect(workspace.address)
    async with holder.transaction():
        await holder.execute("SELECT FROM asset WHERE uid = $1 FOR UPDATE", uids[-1])
        yield
        assert await workspace.count("asset") == REMAINING
        await target.verify()
    await holder.close()
    await purge_all(target.address)
    assert await workspace.count("asset") == await workspace.count("change") == 0
    await target.verify()


async def wait_for_second_transaction(workspace: Workspace, command: CommandProcess) -> None:
    """Wait until the first transaction of the purge is committed and the second waits for the locked asset."""
    await wait_until(lambda: waits_for_lock(workspace.address))
    assert command.is_running
    assert await workspace.count("asset") == REMAINING


async def test_a_purge_that_was_killed_leaves_a_sound_history_and_the_next_completes_it(
    workspace: Workspace, target: LoadTarget
) -> None:
    async with last_asset_locked(workspace, target), workspace.start("purge") as command:
        await wait_for_second_transaction(workspace, command)
        command.process.kill()
        await command.exit_code()


async def test_a_purge_that_is_interrupted_reports_what_it_removed(workspace: Workspace, target: LoadTarget) -> None:
    async with last_asset_locked(workspace, target), workspace.start("purge") as command:
        await wait_for_second_transaction(workspace, command)
        command.process.send_signal(signal.SIGINT)
        assert await command.exit_code() == 128 + signal.SIGINT
    assert command.out.lines[0].startswith(f"default: {MAX_ASSETS} products")
    assert command.err.lines == ["Interrupted. What is counted is removed permanently; run the purge again to remove the rest."]


async def test_a_purge_that_other_writers_block_reports_what_it_removed_and_the_remedy(
    workspace: Workspace, target: LoadTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge, "ATTEMPTS", 2)
    monkeypatch.setattr(purge_steps, "_SET_TIMEOUTS", text(str(purge_steps._SET_TIMEOUTS).replace("2s", "20ms")))
    report: list[str] = []
    running = Purge(
        workspace.address,
        Author("purger"),
        report=report.append,
        progress=lambda total: Progress(Console(file=io.StringIO()), total),
    )
    async with last_asset_locked(workspace, target):
        with pytest.raises(Timeout, match="Run the purge again later"):
            await running.run(None, dry_run=False)
    assert [it[: it.index(" products")] for it in report] == [f"default: {MAX_ASSETS}"]


@pytest.mark.temporal
async def test_no_read_as_of_any_instant_finds_a_purged_asset(api: Api, address: str) -> None:
    orders, raw = await api.register("orders"), await api.register("raw")
    await api.link("raw", "orders", at=day(1))
    query = """
      query ($orders: ID!, $raw: ID!, $uid: UUID!, $at: DateTime!, $from: DateTime!, $to: DateTime!) {
        then: products(asOf: $at) { nodes { name } }
        byId: node(id: $orders) { id } byUid: asset(ref: { uid: $uid }, asOf: $at) { id }
        changes(from: $from, to: $to) { nodes { uid } } raw: node(id: $raw) { ... on Product { history { totalCount }
          downstream(asOf: $at) { totalCount } } }
      }
    """
    variables = {
        "orders": orders["id"],
        "raw": raw["id"],
        "uid": orders["uid"],
        "at": iso(day(2)),
        "from": iso(day(-1)),
        "to": iso(day(9)),
    }
    before = (await api(query, **variables)).data
    assert [it["name"] for it in before["then"]["nodes"]] == ["orders", "raw"]
    assert before["raw"]["downstream"] == {"totalCount": 1}
    assert {it["uid"] for it in before["changes"]["nodes"]} == {orders["uid"], raw["uid"]}
    assert (await api(DELETE, input={"product": {"uid": orders["uid"]}, "at": iso(day(3))})).data
    await purge_all(address)
    after = (await api(query, **variables)).data
    assert after["then"] == {"nodes": [{"name": "raw"}]}
    assert (after["byId"], after["byUid"]) == (None, None)
    assert after["changes"] == {"nodes": [{"uid": raw["uid"]}]}
    assert after["raw"] == {"history": before["raw"]["history"], "downstream": {"totalCount": 0}}


@pytest.mark.idempotency
async def test_a_request_repeated_after_the_purge_is_not_executed_again(api: Api, address: str) -> None:
    registration = {**product_fields("orders"), "at": iso(day(0)), "idempotencyKey": "once"}
    orders = (await api(REGISTER, input=registration)).data["registerProduct"]["product"]
    deletion = {"product": {"uid": orders["uid"]}, "at": iso(day(3)), "idempotencyKey": "end"}
    deleted = (await api(DELETE, input=deletion)).data
    await purge_all(address)
    assert (await api(REGISTER, input=registration)).code_and_field == ("NOT_FOUND", "at")
    assert (await api(DELETE, input=deletion)).data == deleted
    assert (await api("{ products { nodes { name } } }")).data == {"products": {"nodes": []}}


@pytest.mark.temporal
async def test_what_a_purge_leaves_is_the_same_after_an_export(server: str) -> None:
    async with load_target(server) as original, load_target(server) as copy:
        await original.load(random_history(Random(7), 120))
        owner = await asyncpg.connect(original.address)
        count = "SELECT count(*) FROM asset"
        before = await owner.fetchval(count)
        await purge_all(original.address)
        assert await owner.fetchval(count) < before
        await owner.close()
        await original.verify()
        await copy.load(await export_from(original))
        assert copy.errors == []
        assert await readable_state(copy) == await readable_state(original)


def test_progress_names_what_it_counts() -> None:
    assert describe(240_000, 240_000, 960_000, 8, of="changes") == "240 000 changes, 30 000 changes/s, 25 %, about 24 s left"

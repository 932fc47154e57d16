"""Tests of the purge: assets past retention are removed with their associations, in small transactions, and nothing else
changes."""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from db import bulk
from db.assets import asset, entity, product
from db.assets.asset import IdentitySpec
from db.assets.reference import AssetRef
from db.associations import lineage_link, reference, relationship
from db.author import Author
from db.bulk import ingest, purge
from db.bulk.purge import PurgeCursor, Removed, count_past_retention, purge_step
from db.connection import WriteConnection
from db.database import Database, owner_transaction
from db.driver_connection import StatementHook
from db.errors import HeadwaterError, NotFound, Timeout, TransactionConflict
from db.registries import entity_type, relationship_type
from db.rows import Row
from db.sql import text
from db.temporal.change_log import Operation
from db.temporal.kinds import ASSOCIATION_KINDS, KINDS, PRODUCT
from db.temporal.verification import verify_tenant
from tests.builders import day, product_fields
from tests.db.lineage.random_graphs import DAYS, RandomGraphs, write_random_graphs
from tests.hooks import belongs_to_session
from tests.randomness import seeds

RAW, CLEAN, REPORT, ANN = (UUID(int=number) for number in range(1, 5))
AUTHOR = Author("purger", "run-1", "purge")

Write = Callable[[WriteConnection], Awaitable[Any]]


async def retain(owner: asyncpg.Connection, days: int | None, tenant_id: int = 1) -> None:
    await owner.execute("UPDATE tenant SET retention_days = $1 WHERE tenant_id = $2", days, tenant_id)


async def write(database: Database, *writes: Write, tenant_id: int = 1) -> None:
    async with database.transaction(tenant_id, Author("setup")) as connection:
        for it in writes:
            await it(connection)


async def purge_all(address: str, tenant_id: int = 1) -> Removed:
    """Purge a tenant, and return what was removed."""
    removed = Removed()
    cursor: PurgeCursor | None = PurgeCursor()
    while cursor is not None:
        step = await purge_step(address, tenant_id, AUTHOR, cursor)
        removed += step.removed
        cursor = step.next
    return removed


async def verify(database: Database, tenant_id: int = 1) -> None:
    async with database.snapshot(tenant_id) as reader:
        assert (await verify_tenant(reader)).differences == []


async def rows(owner: asyncpg.Connection) -> dict[str, set[Any]]:
    """Return all rows, by table."""
    tables = await owner.fetch("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
    return {
        it["relname"]: {row[0] for row in await owner.fetch(f"SELECT CAST(t AS text) FROM {it['relname']} t")} for it in tables
    }


def register(uid: UUID, name: str, at: datetime) -> Write:
    return lambda connection: product.register(connection, product_fields(name), uid=uid, at=at)


def delete(uid: UUID, at: datetime) -> Write:
    return lambda connection: asset.delete(connection, PRODUCT, uid, at=at)


def restore(uid: UUID, at: datetime) -> Write:
    return lambda connection: asset.restore(connection, PRODUCT, uid, at=at)


def link(source: UUID, target: UUID, at: datetime) -> Write:
    return lambda connection: lineage_link.register(connection, AssetRef(uid=source), AssetRef(uid=target), None, {}, at=at)


async def add_ann(connection: WriteConnection) -> None:
    await entity_type.put(connection, "PERSON", "Person")
    await relationship_type.put(
        connection, key="owner", reverse_key="owns", origin="PRODUCT", related="PERSON", cardinality="MANY_TO_MANY"
    )
    await entity.create(connection, IdentitySpec(ANN, "PERSON", "ann"), "Ann", {}, at=day(0))


def relate(origin: UUID, at: datetime) -> Write:
    state = relationship.RelationshipState("owner", AssetRef(uid=origin), AssetRef(uid=ANN), {"attributes": {}}, at)
    return lambda connection: relationship.relate(connection, state)


@pytest.fixture
async def shop(database: Database, owner: asyncpg.Connection) -> Database:
    """Raw feeds clean, which feeds report; Ann owns the first two. Clean was deleted. The retention is 0 days."""
    await write(
        database,
        register(RAW, "raw", day(0)),
        register(CLEAN, "clean", day(0)),
        register(REPORT, "report", day(0)),
        add_ann,
        link(RAW, CLEAN, day(1)),
        link(CLEAN, REPORT, day(1)),
        link(RAW, REPORT, day(1)),
        relate(RAW, day(1)),
        relate(CLEAN, day(1)),
        delete(CLEAN, day(5)),
    )
    await retain(owner, 0)
    return database


@pytest.mark.temporal
async def test_deleted_asset_is_removed_with_its_associations_only(
    shop: Database, address: str, owner: asyncpg.Connection
) -> None:
    due = await count_past_retention(address, 1)
    removed = await purge_all(address)
    assert removed == due == Removed({"PRODUCT": 1, "LINK": 2, "RELATIONSHIP": 1}, 5)  # type: ignore[arg-type]
    await verify(shop)
    assert await count_past_retention(address, 1) == Removed()
    remaining = await owner.fetch("SELECT kind, count(*) FROM change GROUP BY kind ORDER BY kind")
    assert [tuple(it) for it in remaining] == [("ENTITY", 1), ("LINK", 1), ("PRODUCT", 2), ("RELATIONSHIP", 1)]
    async with shop.snapshot(1) as reader:
        assert await asset.identities(reader, [CLEAN]) == [None]
        assert await product.products_by_name(reader, ["clean"], day(2)) == [None]
        assert await lineage_link.count_links(reader, lineage_link.LinkQuery(as_of=day(2))) == 1
    counted = await owner.fetch("SELECT kind, used FROM quota ORDER BY kind")
    assert [tuple(it) for it in counted] == [("ENTITY", 1), ("LINK", 1), ("PRODUCT", 2), ("RELATIONSHIP", 1)]
    entries = await owner.fetch("SELECT actor, operation, outcome, request_id FROM audit WHERE operation = 'purge'")
    assert [tuple(it) for it in entries] == [("purger", "purge", "KEPT", "run-1")]


@pytest.mark.temporal
async def test_purged_asset_may_be_created_again_without_its_history(shop: Database, address: str) -> None:
    await purge_all(address)
    await write(shop, register(CLEAN, "clean", day(3)))
    async with shop.snapshot(1) as reader:
        assert await product.products_by_name(reader, ["clean"], day(2)) == [None]
        assert await lineage_link.count_links(reader, lineage_link.LinkQuery(as_of=day(4))) == 1
    await verify(shop)


async def test_count_removes_nothing(shop: Database, address: str, owner: asyncpg.Connection) -> None:
    before = await rows(owner)
    await count_past_retention(address, 1)
    assert await rows(owner) == before


async def test_tenant_without_retention_keeps_everything(shop: Database, address: str, owner: asyncpg.Connection) -> None:
    await retain(owner, None)
    before = await rows(owner)
    assert await count_past_retention(address, 1) is None
    assert await purge_all(address) == Removed()
    assert await rows(owner) == before


async def test_other_tenant_keeps_its_data(shop: Database, address: str, owner: asyncpg.Connection) -> None:
    await owner.execute("INSERT INTO tenant (tenant_id, name, retention_days) VALUES (2, 'other', 1)")
    writes = [register(CLEAN, "clean", day(0)), register(RAW, "raw", day(0)), link(RAW, CLEAN, day(1)), delete(CLEAN, day(5))]
    await write(shop, *writes, tenant_id=2)
    # ids of different tenants may be equal
    changes = await owner.fetch("SELECT CAST(c AS text) FROM change c WHERE tenant_id = 2 ORDER BY seq")
    await purge_all(address)
    assert await owner.fetch("SELECT CAST(c AS text) FROM change c WHERE tenant_id = 2 ORDER BY seq") == changes
    await verify(shop, 2)


@pytest.mark.temporal
@pytest.mark.parametrize("days", [0, 30, 2**31 - 1])
async def test_retention_counts_from_the_deletion_and_from_its_recording(
    database: Database, address: str, owner: asyncpg.Connection, days: int
) -> None:
    now = datetime.now(UTC)
    uids = {name: UUID(int=number) for number, name in enumerate(HISTORIES, 1)}
    for recent in (False, True):
        for name, changes in HISTORIES.items():
            for recorded, operation, ago in changes:
                at = now - timedelta(days=ago)
                if recorded == ("recent" if recent else "old"):
                    await write(database, _change(uids[name], name, operation, at))
        if not recent:
            await owner.execute("UPDATE change SET recorded_at = recorded_at - interval '40 days'")
    await retain(owner, days)
    past = {0: PAST | {"recorded recently", "deleted recently", "corrected recently", "restored and deleted recently"}, 30: PAST}
    expected = past.get(days, set())
    assert (await purge_all(address)).subjects["PRODUCT"] == len(expected)
    async with database.snapshot(1) as reader:
        identities = await asset.identities(reader, list(uids.values()))
    assert {name for name, it in zip(uids, identities, strict=True) if it is None} == expected
    await verify(database)


# Changes of products: whether they were recorded within the retention, their operation, and how many days ago they took effect.
HISTORIES = {
    "alive": [("old", "SET", 90)],
    "deleted": [("old", "SET", 90), ("old", "DELETE", 60)],
    "deleted twice": [("old", "SET", 90), ("old", "DELETE", 60), ("old", "SET", 50), ("old", "DELETE", 45)],
    "deleted again without effect": [("old", "SET", 90), ("old", "DELETE", 60), ("recent", "DELETE", 1)],
    "never existed": [("old", "SET", 60), ("old", "DELETE", 60)],
    "restored": [("old", "SET", 90), ("old", "DELETE", 60), ("recent", "SET", 1)],
    "restored in the past": [("old", "SET", 90), ("old", "DELETE", 60), ("recent", "SET", 50)],
    "restored and deleted recently": [("old", "SET", 90), ("old", "DELETE", 60), ("recent", "SET", 50), ("recent", "DELETE", 45)],
    "recorded recently": [("old", "SET", 90), ("recent", "DELETE", 60)],
    "deleted recently": [("old", "SET", 90), ("recent", "DELETE", 2)],
    "corrected recently": [("old", "SET", 90), ("old", "DELETE", 60), ("recent", "SET", 95)],
}
PAST = {"deleted", "deleted twice", "deleted again without effect", "never existed"}


def _change(uid: UUID, name: str, operation: str, at: datetime) -> Write:
    if operation == "DELETE":
        return delete(uid, at)
    state = ingest.AssetState(PRODUCT, IdentitySpec(uid), _state(name), at)
    return lambda connection: _ingest(connection, state)


def _state(name: str) -> dict[str, Any]:
    fields: dict[str, Any] = {"description": None, "status": "ACTIVE", "version": "1.0.0", "tags": []}
    return {"name": name, "domain": "sales", "owner": "ann", "schema": {}, **fields}


async def _ingest(connection: WriteConnection, *entries: ingest.BatchEntry) -> None:
    for outcome in await ingest.ingest(connection, entries):
        if isinstance(outcome, HeadwaterError):
            raise outcome


async def test_every_table_that_refers_to_an_identity_is_purged(owner: asyncpg.Connection) -> None:
    """Every table that refers to an identity has a statement that removes its rows, so that a new table cannot be forgotten."""
    identities = {kind.identities.name for kind in KINDS}
    referring = await owner.fetch(
        "SELECT DISTINCT CAST(CAST(conrelid AS regclass) AS text) AS name FROM pg_constraint"
        " WHERE contype = 'f' AND CAST(CAST(confrelid AS regclass) AS text) = ANY ($1)",
        list(identities),
    )
    # tables that refer by a column without a constraint
    subjects = await owner.fetch(
        "SELECT DISTINCT table_name AS name FROM information_schema.columns WHERE table_schema = current_schema()"
        " AND column_name IN ('subject_id', 'asset_id', 'link_id', 'relationship_id')"
    )
    statements = [it.read_text() for it in Path(bulk.__file__).parent.glob("sql/purge_*.sql")]
    statements += [str(kind.statement("bulk/purge_associations")) for kind in ASSOCIATION_KINDS]
    removing = {table for statement in statements for table in re.findall(r"DELETE FROM (\w+)", statement)}
    # An idempotency key is kept, so that its request is not done again.
    assert identities | {it["name"] for it in [*referring, *subjects]} == removing | {"idempotency_key"}


@pytest.mark.parametrize("bound", ["MAX_ASSETS", "MAX_ASSOCIATIONS", "MAX_CHANGES"])
async def test_purge_is_consistent_after_each_of_its_small_steps(
    shop: Database, address: str, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    """A purge may be killed between any two steps."""
    further = [UUID(int=number) for number in range(10, 14)]
    await write(shop, restore(CLEAN, day(6)), *(register(uid, f"p{uid.int}", day(0)) for uid in further))
    await write(shop, *(link(CLEAN, uid, day(7)) for uid in further), *(link(uid, CLEAN, day(7)) for uid in further))
    await write(shop, *(delete(uid, day(8)) for uid in (CLEAN, RAW, *further[:2])))
    monkeypatch.setattr(purge, bound, 2)
    due = await count_past_retention(address, 1)
    assert due is not None
    removed = Removed()
    sizes = []
    cursor: PurgeCursor | None = PurgeCursor()
    while cursor is not None:
        step = await purge_step(address, 1, AUTHOR, cursor)
        sizes.append(step.removed.subjects["PRODUCT" if bound == "MAX_ASSETS" else "LINK"])
        removed += step.removed
        cursor = step.next
        remaining = await count_past_retention(address, 1)
        assert remaining is not None
        assert remaining.changes == due.changes - removed.changes
        await verify(shop)
    assert removed == due
    assert removed.subjects == {"PRODUCT": 4, "LINK": 11, "RELATIONSHIP": 2}
    if bound != "MAX_ASSETS":
        assert max(sizes) <= 2
    assert len([it for it in sizes if it]) >= 2


async def wait_for_locks(owner: asyncpg.Connection, number: int, *tasks: "asyncio.Task[Any]") -> None:
    """Wait until this number of backends wait for a lock."""
    async with asyncio.timeout(10):
        while await owner.fetchval(_WAITING) != number:
            assert not any(it.done() for it in tasks), [it for it in tasks if it.done()]
            await asyncio.sleep(0.002)


_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


async def restore_clean(connection: WriteConnection) -> None:
    await asset.restore(connection, PRODUCT, CLEAN, at=day(6))


async def state_clean(connection: WriteConnection) -> None:
    await _ingest(connection, ingest.AssetState(PRODUCT, IdentitySpec(CLEAN), _state("clean"), day(6)))


async def link_early(connection: WriteConnection) -> None:
    await _ingest(connection, _link(REPORT, CLEAN, day(2)))


async def link_late(connection: WriteConnection) -> None:
    await lineage_link.register(connection, AssetRef(uid=REPORT), AssetRef(uid=CLEAN), None, {}, at=day(2))


async def link_again(connection: WriteConnection) -> None:
    await _ingest(connection, _link(RAW, CLEAN, day(2)))


async def unlink(connection: WriteConnection) -> None:
    await lineage_link.remove(connection, reference.link_uid(RAW, CLEAN, None), at=day(2))


async def relate_early(connection: WriteConnection) -> None:
    await _ingest(
        connection,
        relationship.RelationshipState("owner", AssetRef(uid=CLEAN), AssetRef(uid=ANN), {"attributes": {"n": 1}}, day(2)),
    )


async def delete_neighbour(connection: WriteConnection) -> None:
    await asset.delete(connection, PRODUCT, RAW, at=day(3))


async def delete_again(connection: WriteConnection) -> None:
    await asset.delete(connection, PRODUCT, CLEAN, at=day(4))


def _link(source: UUID, target: UUID, at: datetime) -> lineage_link.LinkState:
    payload: dict[str, Any] = {"type": "DIRECT", "transformation": None, "confidence": 0.5, "metadata": {}}
    return lineage_link.LinkState(AssetRef(uid=source), AssetRef(uid=target), None, payload, at)


CONCURRENT: list[tuple[Write, type[HeadwaterError] | None, int]] = [
    # the error of a write during a purge, and the number of products left by a purge during the write
    (restore_clean, NotFound, 3),
    (state_clean, None, 3),
    (link_early, TransactionConflict, 2),
    (link_late, TransactionConflict, 2),
    (link_again, TransactionConflict, 2),
    (unlink, NotFound, 2),
    (relate_early, TransactionConflict, 2),
    (delete_neighbour, None, 1),
    (delete_again, NotFound, 2),
]


@pytest.mark.parametrize(("writes", "refused"), [it[:2] for it in CONCURRENT], ids=[it[0].__name__ for it in CONCURRENT])
async def test_write_during_a_purge(
    shop: Database, address: str, owner: asyncpg.Connection, writes: Write, refused: type[HeadwaterError] | None
) -> None:
    holder = await asyncpg.connect(address)
    async with holder.transaction():
        # a purge updates the quota last
        await holder.execute("SELECT FROM quota FOR UPDATE")
        purging = asyncio.create_task(purge_all(address))
        await wait_for_locks(owner, 1, purging)
        writing = asyncio.create_task(write(shop, writes))
        await wait_for_locks(owner, 2, purging, writing)
    await holder.close()
    assert (await purging).subjects == {"PRODUCT": 1, "LINK": 2, "RELATIONSHIP": 1}
    (outcome,) = await asyncio.gather(writing, return_exceptions=True)
    assert outcome is None if refused is None else isinstance(outcome, refused), outcome
    await verify(shop)


@pytest.mark.parametrize(("writes", "left"), [it[::2] for it in CONCURRENT], ids=[it[0].__name__ for it in CONCURRENT])
async def test_purge_during_a_write_rechecks_the_asset(
    shop: Database, address: str, owner: asyncpg.Connection, writes: Write, left: int
) -> None:
    async with shop.transaction(1, Author("first")) as connection:
        await writes(connection)
        purging = asyncio.create_task(purge_all(address))
        await wait_for_locks(owner, 1, purging)
    await purging
    assert await owner.fetchval("SELECT count(*) FROM asset WHERE kind = 'PRODUCT'") == max(left, 2)
    await purge_all(address)
    assert await owner.fetchval("SELECT count(*) FROM asset WHERE kind = 'PRODUCT'") == left
    await verify(shop)


async def test_purge_that_times_out_removes_nothing(
    shop: Database, address: str, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await rows(owner)
    monkeypatch.setattr(purge, "_SET_TIMEOUTS", text(str(purge._SET_TIMEOUTS).replace("2s", "50ms")))
    async with owner.transaction():
        await owner.execute("SELECT FROM lineage_link FOR UPDATE")
        with pytest.raises(Timeout):
            await purge_all(address)
    assert await rows(owner) == before


@pytest.mark.random
@pytest.mark.temporal
@pytest.mark.parametrize("seed", seeds(quick=6, soak=48))
async def test_random_graph_lacks_only_what_is_past_retention(
    database: Database, address: str, owner: asyncpg.Connection, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    async with database.transaction(1, Author("setup")) as connection:
        graphs = await write_random_graphs(connection, chance, 12)
        await _relate(connection, chance, graphs)
    # recorded before it took effect, so that only the deletion counts
    await owner.execute("UPDATE change SET recorded_at = timestamptz '2025-01-01'")
    for name, least in (("MAX_ASSETS", 1), ("MAX_ASSOCIATIONS", 1), ("MAX_CHANGES", 3)):
        monkeypatch.setattr(purge, name, chance.randint(least, 20))
    now = datetime.now(UTC)
    for number in sorted(chance.sample(range(DAYS), 3)):
        await retain(owner, (now - day(number)).days)
        before = now - timedelta(days=(now - day(number)).days)
        removable = {
            it for it, log in graphs.asset_logs.items() if log[-1].operation is Operation.DELETE and log[-1].at <= before
        }
        expected = await _rows_without(owner, removable)
        due = await count_past_retention(address, 1)
        removed = await purge_all(address)
        assert removed == due
        assert await _rows_without(owner, set()) == expected
        assert removed.subjects["ENTITY"] <= len(removable)
        await verify(database)
    remaining = {row["id"] for row in await owner.fetch("SELECT id FROM asset")}
    assert remaining == graphs.asset_logs.keys() - removable


async def _relate(connection: WriteConnection, chance: random.Random, graphs: RandomGraphs) -> None:
    """Add relationships between random assets of a graph."""
    ends = {"origin": "ENTITY", "related": "ENTITY", "cardinality": "MANY_TO_MANY"}
    await relationship_type.put(connection, key="uses", reverse_key="used_by", **ends)
    pairs = {tuple(chance.sample(sorted(graphs.uids), 2)) for _ in range(2 * len(graphs.uids))}
    states = [
        relationship.RelationshipState(
            "uses",
            AssetRef(uid=graphs.uids[origin]),
            AssetRef(uid=graphs.uids[related]),
            {"attributes": {"n": 1}},
            day(chance.randrange(DAYS)),
        )
        for origin, related in sorted(pairs)
    ]
    assert not [
        it for it in await relationship.upsert_each(connection, states, allow_pending_ends=True) if isinstance(it, HeadwaterError)
    ]


async def _rows_without(owner: asyncpg.Connection, assets: set[int]) -> dict[str, set[Any]]:
    """Return all rows, by table, except those of some assets and their associations, and except tenants, quotas and the audit
    log."""
    remaining: dict[str, set[Any]] = {}
    excepted = f"SELECT unnest(CAST('{{{', '.join(map(str, assets))}}}' AS bigint[]))"
    links = f"SELECT id FROM lineage_link WHERE source_id IN ({excepted}) OR target_id IN ({excepted})"
    relationships = f"SELECT id FROM relationship WHERE origin_id IN ({excepted}) OR related_id IN ({excepted})"
    for table, condition in {
        "asset": f"id IN ({excepted})",
        **dict.fromkeys(
            ("asset_lifetime", "entity_version", "entity_detail", "entity_key", "product_version"), f"asset_id IN ({excepted})"
        ),
        "lineage_link": f"id IN ({links})",
        **dict.fromkeys(("lineage_link_version", "lineage_link_effective"), f"link_id IN ({links})"),
        "relationship": f"id IN ({relationships})",
        **dict.fromkeys(("relationship_version", "relationship_effective"), f"relationship_id IN ({relationships})"),
        "change": f"(kind, subject_id) IN (SELECT 'ENTITY', * FROM ({excepted}) g UNION SELECT 'LINK', * FROM ({links}) l"
        f" UNION SELECT 'RELATIONSHIP', * FROM ({relationships}) r)",
        **dict.fromkeys(
            ("domain", "entity_type", "detail_type", "relationship_type", "relationship_key", "idempotency_key"), "false"
        ),
    }.items():
        remaining[table] = {row[0] for row in await owner.fetch(f"SELECT CAST(t AS text) FROM {table} t WHERE NOT ({condition})")}
    return remaining


MANY = 20_000


async def test_purge_reads_by_indexes(address: str, owner: asyncpg.Connection) -> None:
    """The cost of a purge depends on what it removes and on what was deleted, not on the size of the tenant."""
    await owner.execute(_FILL)
    hook = _ScanHook()
    async with owner_transaction(address, [hook]) as connection:
        purging = purge._PurgeTransaction(connection, 1)
        before = await purging.begin()
        assert before is not None
        counted = {it.kind: it.subjects for it in await purging.fetch(purge._COUNT, {"before": before})}
        assert counted == {"PRODUCT": 100, "LINK": 199, "RELATIONSHIP": 199}
        step = await purging.step(AUTHOR, PurgeCursor(), before)
        assert step.removed.subjects == counted
    assert hook.explained > 5
    assert hook.scanned == []


_FILL = f"""
SET session_replication_role = replica;
ALTER TABLE product_version DROP CONSTRAINT product_version_overlap, DROP CONSTRAINT product_name_taken;
INSERT INTO asset (tenant_id, id, uid, kind) OVERRIDING SYSTEM VALUE
SELECT 1, n, gen_random_uuid(), 'PRODUCT' FROM generate_series(1, {MANY}) n;
INSERT INTO asset_lifetime
SELECT 1, id, '2026-01-01', CASE WHEN id % 200 = 0 THEN CAST('2026-02-01' AS timestamptz) ELSE 'infinity' END FROM asset;
INSERT INTO lineage_link (tenant_id, id, uid, source_id, target_id) OVERRIDING SYSTEM VALUE
SELECT 1, n, gen_random_uuid(), n, n + 1 FROM generate_series(1, {MANY} - 1) n;
INSERT INTO relationship (tenant_id, id, uid, type_id, origin_id, related_id, one_origin, one_related) OVERRIDING SYSTEM VALUE
SELECT 1, n, gen_random_uuid(), 1, n, n + 1, false, false FROM generate_series(1, {MANY} - 1) n;
INSERT INTO change (tenant_id, kind, subject_id, operation, change_ts, payload, changed, recorded_at, actor)
SELECT 1, kind, n, 'SET', CAST('2026-01-01' AS timestamptz), CAST('{{}}' AS jsonb), true, CAST('2026-01-01' AS timestamptz), ''
FROM generate_series(1, {MANY}) n, unnest(ARRAY['PRODUCT', 'LINK', 'RELATIONSHIP']) kind
UNION ALL
SELECT 1, 'PRODUCT', id, 'DELETE', '2026-02-01', NULL, true, '2026-02-01', '' FROM asset WHERE id % 200 = 0;
UPDATE tenant SET retention_days = 0;
ANALYZE;
"""


class _ScanHook(StatementHook):
    """Explains each statement, and collects the scans of large tables."""

    def __init__(self) -> None:
        self.explained = 0
        self.scanned: list[str] = []

    async def before(self, connection: "asyncpg.Connection[Row]", text: str, arguments: Sequence[Any] | None) -> str:
        if not belongs_to_session(text) and "INSERT INTO audit" not in text:
            plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {text}", *(arguments or ())))
            self.scanned += [f"{it}:\n{plan}" for it in re.findall(r"Seq Scan on (\w+)", plan) if it in _LARGE]
            self.explained += 1
        return text


_LARGE = ("asset", "asset_lifetime", "change", "lineage_link", "relationship")

"""Each read of 200 000 versions of entities uses the index that it is meant to, as the service's role under row-level
security."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from typing import Any

import asyncpg
import pytest

from db.assets import entity
from db.assets.asset import IdentitySpec
from db.assets.entity import EntityRow
from db.assets.entity_query import DetailCondition, EntityOrder, EntityQuery, count_entities, cursor_key, list_entities
from db.assets.search import BOUND, Rank, SearchQuery, search_counts, search_page
from db.bulk import ingest
from db.connection import ReadConnection
from db.database import Database
from db.pagination import Page
from db.sql import text
from db.temporal.change_log import Outcome
from db.temporal.history import histories
from db.temporal.kinds import ENTITY
from tests.builders import day
from tests.databases import shared_database
from tests.db.plans import (
    counted_work,
    explained_plans,
    generic_plans,
    indexes_of,
    plans_in_functions,
    rolled_back,
    scanned_tables_of,
)

pytestmark = [pytest.mark.slow(30), pytest.mark.xdist_group("entity plans")]

ENTITIES = 40_000
VERSIONS = 5
THEN = day(-250)

# Two tenants, the second one small. Each entity has five versions; its email stays the same, its level changes each time.
_FILL = f"""
INSERT INTO tenant (name) VALUES ('other');
SET session_replication_role = replica;
INSERT INTO entity_type (tenant_id, code, label) SELECT t, 'TYPE_' || n, '' FROM generate_series(1, 2) t, generate_series(0, 9) n;
INSERT INTO detail_type (tenant_id, code, label, format) SELECT t, code, '', format FROM generate_series(1, 2) t,
  (VALUES ('email', 'email'), ('level', 'number')) AS d (code, format);
INSERT INTO asset (tenant_id, uid, kind, type)
SELECT CASE WHEN n <= {ENTITIES} THEN 1 ELSE 2 END, gen_random_uuid(), 'ENTITY', 'TYPE_' || n % 10
FROM generate_series(1, {ENTITIES} + 1000) n;
CREATE TEMPORARY TABLE filled AS
SELECT a.tenant_id, a.id, CAST(a.id AS text) AS key, a.type, n, '2025-01-01'::timestamptz + n * interval '30 days' AS since,
  CASE n WHEN {VERSIONS - 1} THEN 'infinity' ELSE '2025-01-01'::timestamptz + (n + 1) * interval '30 days' END AS until,
  'entity ' || md5(a.id::text) || ' ' || n AS name, md5(a.id::text) || '@shop.example' AS email, (a.id + n)::text AS level
FROM asset a, generate_series(0, {VERSIONS - 1}) n;
INSERT INTO entity_version (tenant_id, asset_id, valid_from, valid_to, created_at, display_name, details, keys, digest)
SELECT tenant_id, id, since, until, '2025-01-01', name, jsonb_build_object('email', email, 'level', level), ARRAY[key],
  md5(jsonb_build_object(
    'display_name', name, 'details', jsonb_build_object('email', email, 'level', level), 'keys', ARRAY[key]
  )::text)::uuid
FROM filled;
INSERT INTO entity_detail (tenant_id, asset_id, detail_type, valid_from, valid_to, value, number)
SELECT tenant_id, id, 'email', since, 'infinity', email, NULL FROM filled WHERE n = 0
UNION ALL SELECT tenant_id, id, 'level', since, until, level, level::float FROM filled;
INSERT INTO entity_key (tenant_id, asset_id, type, compared, valid_from, valid_to)
SELECT tenant_id, id, type, key, since, 'infinity' FROM filled WHERE n = 0;
INSERT INTO asset_lifetime (tenant_id, asset_id, valid_from, valid_to)
SELECT tenant_id, id, since, 'infinity' FROM filled WHERE n = 0;
INSERT INTO change (tenant_id, kind, subject_id, operation, change_ts, payload, changed, recorded_at, actor)
SELECT tenant_id, 'ENTITY', asset_id, 'SET', valid_from,
  jsonb_build_object('display_name', display_name, 'details', details, 'keys', keys),
  true, now(), 'filler'
FROM entity_version;
SET session_replication_role = DEFAULT;
"""

Read = Callable[[ReadConnection], Awaitable[Any]]


@pytest.fixture(scope="module")
def address(server: str) -> Iterator[str]:
    """Address of a filled database that the tests share. They roll back what they write."""
    with shared_database(server) as address:
        with asyncio.Runner() as runner:
            runner.run(fill(address))
        yield address


async def fill(address: str) -> None:
    """Fill the tables, without the indexes that are slow to maintain."""
    owner = await asyncpg.connect(address)
    slow = await owner.fetch(
        "SELECT c.conrelid::regclass AS of, c.conname AS name, pg_get_constraintdef(c.oid) AS definition"
        " FROM pg_constraint c WHERE c.contype = 'x' AND c.conname LIKE 'entity%'"
    )
    search = await owner.fetchval("SELECT pg_get_indexdef('entity_version_search'::regclass)")
    await owner.execute("DROP INDEX entity_version_search")
    for it in slow:
        await owner.execute(f"ALTER TABLE {it['of']} DROP CONSTRAINT {it['name']}")
    await owner.execute(_FILL)
    for it in slow:
        await owner.execute(f"ALTER TABLE {it['of']} ADD CONSTRAINT {it['name']} {it['definition']}")
    await owner.execute(search)
    await owner.execute("VACUUM ANALYZE")
    await owner.close()


async def any_entity(connection: ReadConnection, as_of: Any = None) -> EntityRow:
    page = await list_entities(connection, EntityQuery(search="f00", as_of=as_of), Page(1))
    return page.items[0]


def listing(page: Page, **query: Any) -> Read:
    return lambda connection: list_entities(connection, EntityQuery(**query), page)


def with_detail(as_of: Any = None, **condition: Any) -> Read:
    return listing(Page(50), details=(DetailCondition(**condition),), as_of=as_of)


# Each read, built for one entity, and the index that it has to use.
READS: dict[str, tuple[Callable[[EntityRow], Read], str]] = {
    "current lookup by uid": (lambda row: lambda it: entity.entities_by_uid(it, [row.uid], None), "asset_uid_taken"),
    "current lookup": (lambda row: lambda it: entity.entities_by_uid(it, [row.uid], None), "entity_version_pkey"),
    "as-of lookup": (lambda row: lambda it: entity.entities_by_uid(it, [row.uid], THEN), "entity_version_pkey"),
    "lookup by key": (lambda row: lambda it: entity.entities_by_key(it, [(row.type, row["keys"][0])], None), "entity_key_by_key"),
    "details": (lambda row: lambda it: entity.details_by_entity(it, [(row.asset_id, day(0))]), "entity_detail_pkey"),
    "details as of": (lambda row: lambda it: entity.details_by_entity(it, [(row.asset_id, THEN)]), "entity_detail_pkey"),
    "history": (lambda row: lambda it: histories(it, [row.asset_id], ENTITY, Page(3)), "entity_version_pkey"),
    "history with authors": (lambda row: lambda it: histories(it, [row.asset_id], ENTITY, Page(3)), "change_in_order"),
    "first page": (lambda _: listing(Page(50)), "entity_version_by_name"),
    "page as of": (lambda row: listing(Page(50, after=(row.display_name, 0)), as_of=THEN), "entity_version_by_name"),
    "last page": (lambda _: listing(Page(50, backward=True)), "entity_version_by_name"),
    "latest changed": (
        lambda _: listing(Page(50), order=EntityOrder.UPDATED_AT, descending=True),
        "entity_version_by_instant",
    ),
    "changed since": (
        lambda _: listing(Page(50), order=EntityOrder.UPDATED_AT, updated_since=THEN, updated_before=day(0)),
        "entity_version_by_instant",
    ),
    "detail equality": (lambda row: with_detail(type="email", equals=row.details["email"]), "entity_detail_by_value"),
    "detail equality as of": (
        lambda row: with_detail(THEN, type="email", equals=row.details["email"]),
        "entity_detail_by_value",
    ),
    "detail one of": (lambda row: with_detail(type="email", among=(row.details["email"], "x")), "entity_detail_by_value"),
    "detail range": (
        lambda row: with_detail(type="email", least=row.details["email"], most=row.details["email"]),
        "entity_detail_by_value",
    ),
    "numeric range": (
        lambda row: with_detail(type="level", format="number", least=row.details["level"], most=row.details["level"]),
        "entity_detail_by_number",
    ),
}


@pytest.mark.parametrize("name", READS)
async def test_a_read_uses_its_index(database: Database, name: str) -> None:
    read_for, index = READS[name]
    async with database.snapshot(1) as connection:
        read = read_for(await any_entity(connection))
        with explained_plans(database) as explained:
            assert await read(connection)
    assert index in explained.indexes
    # the registries have one page each
    assert explained.scanned_tables <= {"entity_type", "detail_type"}


@pytest.mark.parametrize("name", ["current lookup by uid", "lookup by key", "first page"])
async def test_a_single_read_without_an_instant_uses_its_index_whatever_the_plan(database: Database, name: str) -> None:
    read_for, index = READS[name]
    async with database.snapshot(1) as connection:
        read = read_for(await any_entity(connection))
    for explained in (explained_plans(database), generic_plans(database)):
        with explained:
            assert await read(database.single_read(1))
        assert index in explained.indexes
        assert explained.scanned_tables <= {"entity_type", "detail_type"}


ORDERS = {
    EntityOrder.DISPLAY_NAME: "entity_version_by_name",
    EntityOrder.UPDATED_AT: "entity_version_by_instant",
    EntityOrder.CREATED_AT: "entity_version_by_creation",
    EntityOrder.KEY: "entity_version_by_key",
    EntityOrder.TYPE: "asset_by_type",
}


@pytest.mark.parametrize("tenant_id", [1, 2])
@pytest.mark.parametrize("order", ORDERS)
async def test_a_page_in_an_indexed_order_sorts_nothing(database: Database, order: EntityOrder, tenant_id: int) -> None:
    async with database.snapshot(tenant_id) as connection:
        for as_of in (None, THEN):
            query = EntityQuery(order=order, descending=as_of is None, as_of=as_of)
            first = (await list_entities(connection, query, Page(50))).items
            after = Page(50, after=cursor_key(first[-1], order))
            for page in (Page(50), after, Page(50, backward=True)):
                for explained in (explained_plans(database), generic_plans(database)):
                    with explained:
                        assert len((await list_entities(connection, query, page)).items) == 50
                    assert ORDERS[order] in explained.indexes, (page, as_of)
                    assert explained.scanned_tables == set()
                    assert "Sort'" not in str(explained.plans), (page, as_of)


@pytest.mark.parametrize("order", [EntityOrder.DISPLAY_NAME, EntityOrder.UPDATED_AT])
@pytest.mark.parametrize("named", ["uids", "keys"])
async def test_a_filter_of_many_assets_looks_each_up(database: Database, named: str, order: EntityOrder) -> None:
    async with database.snapshot(1) as connection:
        rows = (await list_entities(connection, EntityQuery(search="f00"), Page(100))).items
        values: Any = {"uids": tuple(it.uid for it in rows), "keys": tuple((it.type, it["keys"][0]) for it in rows)}[named]
        lookup = {"uids": "asset_uid_taken", "keys": "entity_key_by_key"}[named]
        for as_of in (None, THEN):
            query = EntityQuery(**{named: values}, order=order, as_of=as_of)
            for explained in (explained_plans(database), generic_plans(database)):
                with explained:
                    assert len((await list_entities(connection, query, Page(100))).items) == len(rows)
                    assert await count_entities(connection, query) == len(rows)
                assert lookup in explained.indexes <= {lookup, "entity_version_pkey", "entity_version_current", "asset_pkey"}
                assert explained.scanned_tables == set()


@pytest.mark.parametrize("tenant_id", [1, 2, 3])
@pytest.mark.parametrize("bound", ["NULL", "100"])
async def test_a_search_uses_the_indexes_of_texts_and_names_only(address: str, tenant_id: int, bound: str) -> None:
    """Tenant 3 has no rows, so the statistics do not know it."""
    searches = {"": "", "types": "'{TYPE_1}'", "domains": "'{sales}'", "owners": "'{ann}'", "tags": "'{gold}'"}
    for filtered, value in searches.items():
        parameters = {"types": "of_types", "domains": "in_domains", "owners": "of_owners", "tags": "with_tags"}
        condition = f", {parameters[filtered]} => {value}" if filtered else ""
        plans = await plans_in_functions(
            address,
            tenant_id,
            f"SELECT * FROM search_assets({tenant_id}, 'f9a7c', now(), '{{PRODUCT,ENTITY}}', {bound}{condition})",
        )
        # there are no products
        used = {it for it in indexes_of(plans) if not it.startswith("product_version")}
        expected = {"entity_version_search", "entity_key_by_prefix", "entity_key_pkey", "entity_version_pkey"}
        expected |= {"entity_version_by_prefix"} if bound != "NULL" else set()
        assert expected <= used <= expected | {"asset_pkey", "entity_type_pkey", "detail_type_pkey", "detail_type_by_role"}
        assert scanned_tables_of(plans) == set()


async def test_a_search_reads_no_row_of_another_tenant(database: Database) -> None:
    for searched, matching in (("entity", 1_000), ("nothing", 0)):
        search = text(f"SELECT asset_id FROM search_assets(CAST(:tenant AS bigint), '{searched}', now(), '{{PRODUCT,ENTITY}}')")
        with counted_work(database) as counted:
            async with database.snapshot(2) as connection:
                assert len(await connection.fetch(search)) == matching
        (read,) = [it for it in counted.work if "search_assets" in it.text]
        # no scan of the table, and each version once in each of two indexes at most
        assert not read.entries["entity_version"], read
        assert read.entries.total() <= 2 * 1_000 * VERSIONS, read


async def test_a_search_ranks_a_key_first_among_many_matches(database: Database) -> None:
    # rows as long as these go behind all others
    name = "last" * 200
    async with rolled_back(database) as connection:
        for key in ("shop.e", "Shop"):
            await entity.create(connection, IdentitySpec(type="TYPE_1", key=key), name, {})
        found = (await search_page(connection, SearchQuery("shop"), Page(3))).items
        assert [(Rank(it["rank"]).name, it["keys"][0]) for it in found[:2]] == [("EXACT", "Shop"), ("PREFIX", "shop.e")]
        assert found[2]["rank"] == Rank.WORD
        ((total, is_complete, *_),) = await search_counts(connection, [None], SearchQuery("shop"))
        assert (total, is_complete) == (2 * BOUND + 2, False)


async def test_counts_of_a_search_look_the_versions_up(database: Database) -> None:
    facets = [(name, 10) for name in ("kind", "type", "domain", "owner", "tag", "status")]
    async with database.snapshot(1) as connection:
        with explained_plans(database) as explained:
            (counts, *_) = await search_counts(connection, facets, SearchQuery("f9a"))
    assert counts.total
    # each has all columns of the look-up
    assert "asset_pkey" in explained.indexes
    assert explained.indexes & {"entity_version_pkey", "entity_version_by_instant"}
    # the registries have one page each, and there are no products
    assert explained.scanned_tables <= {"entity_type", "detail_type", "product_version"}


async def test_a_write_reads_only_rows_of_its_subject(database: Database) -> None:
    async with rolled_back(database) as connection:
        row = await any_entity(connection)
        with explained_plans(database) as explained:
            await entity.update(connection, row.uid, {"display_name": "newer", "details": {"level": "1"}})
            await entity.update(connection, row.uid, {"details": {"level": "2"}}, at=THEN)
    assert {"asset_uid_taken", "change_in_order", "entity_version_pkey", "entity_detail_pkey"} <= explained.indexes
    assert explained.scanned_tables <= {"entity_type", "detail_type"}


async def test_a_batch_takes_a_constant_number_of_statements_and_reads_only_rows_of_its_subjects(database: Database) -> None:
    counts = []
    for size in (10, 500):
        async with rolled_back(database) as connection:
            existing = (await list_entities(connection, EntityQuery(as_of=THEN, search="a"), Page(size))).items
            batch = [
                state(IdentitySpec(row.uid, row.type), number, at) for number, row in enumerate(existing) for at in (THEN, day(0))
            ]
            batch += [state(IdentitySpec(type="TYPE_0"), number, day(0)) for number in range(size)]
            with explained_plans(database) as explained:
                outcomes = await ingest.ingest(connection, batch)
        assert all(isinstance(it, Outcome) and it.changed for it in outcomes)
        assert explained.scanned_tables <= {"detail_type"}
        counts.append(len(explained.plans))
    assert counts == [7, 7], "lock, add, append, rebuild, project details, keys and lifetimes"


def state(spec: IdentitySpec, number: int, at: datetime) -> ingest.AssetState:
    return ingest.AssetState(ENTITY, spec, {"display_name": f"new {number}", "details": {"level": str(number)}}, at)

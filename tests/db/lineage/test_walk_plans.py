"""Each statement of a walk looks up assets and links by their ids, at present and as of an instant, after a load that gave all
versions few instants and later writes that added many."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Any

import pytest

from db.assets import entity, product
from db.assets.node import nodes_by_id
from db.assets.reference import AssetRef
from db.associations.lineage_link import links_at
from db.associations.reference import LinkEnds, resolve_link
from db.connection import ReadConnection
from db.database import Database
from db.lineage.first_page import WalkRoot, first_pages
from db.lineage.neighbours import Neighbourhood, count_neighbours
from db.lineage.product_walks import Step, walks_from_product
from db.lineage.subgraph import links_of_pages, subgraphs_of_walks
from db.lineage.walk import AssetFilter, Bounds, Direction, LinkFilter, Walk, WalkPage, WalkQuery, run_walks
from db.lineage.window import Reached, WalkWindow, reached_in_windows
from tests.builders import day
from tests.databases import prepare_scripts
from tests.db.plans import explained_plans, generic_plans, row_counts

ASSETS = 10_000
LATER = day(30)
QUERY = WalkQuery(Direction.UPSTREAM, 3, Bounds())
NEIGHBOURS = WalkQuery(Direction.DOWNSTREAM, 1, Bounds())
FILTERED = WalkQuery(Direction.UPSTREAM, 3, Bounds(), LinkFilter(min_confidence=0.5), AssetFilter(domains=("sales",)))
ONLY_LINK = LinkEnds(AssetRef(product="product 16"), AssetRef(product="product 5"), any_producer=True)

# Products and entities, each with a version since the first load and one since the second; three links lead to each asset.
# ANALYZE sees these two instants. Then each third product is written again, each at an instant of its own.
_FILL = f"""
SET session_replication_role = replica;
INSERT INTO domain (tenant_id, name) VALUES (1, 'sales');
INSERT INTO entity_type (tenant_id, code, label) VALUES (1, 'TABLE', 'Table');
INSERT INTO asset (tenant_id, uid, kind) SELECT 1, gen_random_uuid(), 'PRODUCT' FROM generate_series(1, {ASSETS});
INSERT INTO asset (tenant_id, uid, kind, type)
SELECT 1, gen_random_uuid(), 'ENTITY', 'TABLE' FROM generate_series(1, {ASSETS}) n;
CREATE TEMPORARY TABLE period (valid_from, valid_to) AS
VALUES (CAST('{day(0)}' AS timestamptz), CAST('{LATER}' AS timestamptz)), ('{LATER}', 'infinity');
INSERT INTO product_version (tenant_id, asset_id, valid_from, valid_to, created_at, name, domain, owner, schema, status, version,
  tags, digest)
SELECT 1, id, valid_from, valid_to, '{day(0)}', 'product ' || id, 'sales', 'ann', '{{}}', 'ACTIVE', '1', '{{}}', gen_random_uuid()
FROM asset, period WHERE kind = 'PRODUCT';
INSERT INTO entity_version (tenant_id, asset_id, valid_from, valid_to, created_at, display_name, details, keys, digest)
SELECT 1, id, valid_from, valid_to, '{day(0)}', 'entity ' || id, '{{}}', ARRAY[CAST(id - {ASSETS} AS text)], gen_random_uuid()
FROM asset, period WHERE kind = 'ENTITY';
INSERT INTO entity_key (tenant_id, asset_id, type, compared, valid_from, valid_to)
SELECT 1, id, type, CAST(id - {ASSETS} AS text), '{day(0)}', 'infinity' FROM asset WHERE kind = 'ENTITY';
INSERT INTO asset_lifetime (tenant_id, asset_id, valid_from, valid_to) SELECT 1, id, '{day(0)}', 'infinity' FROM asset;
INSERT INTO lineage_link (tenant_id, uid, source_id, target_id)
SELECT 1, gen_random_uuid(), source.id, target.id
FROM asset target, generate_series(1, 3) n, asset source
WHERE source.id = target.id * 3 % {2 * ASSETS} + n AND source.id <> target.id;
INSERT INTO lineage_link_effective (tenant_id, link_id, valid_from, valid_to, source_id, target_id, type, confidence, metadata,
  digest)
SELECT 1, id, '{day(0)}', 'infinity', source_id, target_id, 'DIRECT', 1, '{{}}', gen_random_uuid() FROM lineage_link;
"""
_WRITE = f"""
SET session_replication_role = replica;
UPDATE product_version SET valid_to = '{LATER}'::timestamptz + asset_id * interval '1 second'
WHERE valid_to = 'infinity' AND asset_id % 3 = 0;
INSERT INTO product_version (tenant_id, asset_id, valid_from, valid_to, created_at, name, domain, owner, schema, status, version,
  tags, digest)
SELECT 1, asset_id, valid_to, 'infinity', created_at, name, domain, owner, schema, status, version, tags, gen_random_uuid()
FROM product_version WHERE valid_from = '{LATER}' AND valid_to < 'infinity';
"""


@pytest.fixture(scope="module")
def template(server: str) -> str:
    return prepare_scripts(server, "walk_plans", _FILL, "VACUUM ANALYZE", _WRITE)


async def _walks(connection: ReadConnection, query: WalkQuery, as_of: datetime | None) -> list[Walk]:
    return await run_walks(connection, [(5, as_of), (2 * ASSETS - 5, as_of)], query)


async def _windows(connection: ReadConnection, query: WalkQuery, until: datetime) -> list[Reached]:
    return await reached_in_windows(connection, [WalkWindow(it, day(0), until) for it in (5, 2 * ASSETS - 5)], query)


async def _pages(connection: ReadConnection, query: WalkQuery, as_of: datetime | None) -> list[WalkPage]:
    return [WalkPage(walk, 0, 10) for walk in await _walks(connection, query, as_of)]


@pytest.mark.parametrize("as_of", [None, LATER], ids=["now", "as of"])
async def test_each_statement_of_a_walk_finds_rows_by_their_ids(database: Database, as_of: datetime | None) -> None:
    async with database.snapshot(1) as connection:
        instant = as_of or connection.now
        reads: dict[str, Callable[[], Awaitable[Any]]] = {
            "walks": partial(_walks, connection, QUERY, as_of),
            "filtered walks": partial(_walks, connection, FILTERED, as_of),
            "walks of one level": partial(_walks, connection, NEIGHBOURS, as_of),
            "assets": partial(nodes_by_id, connection, [(asset_id, instant) for asset_id in range(1, 2 * ASSETS, 500)]),
            "links of pages": partial(links_of_pages, connection, await _pages(connection, QUERY, as_of), QUERY),
            "counts": partial(count_neighbours, connection, [Neighbourhood(it, as_of, d) for it in (5, 9) for d in Direction]),
            "windows": partial(_windows, connection, QUERY, instant),
            "filtered windows": partial(_windows, connection, FILTERED, instant),
            "links at instants": partial(links_at, connection, [(link_id, instant) for link_id in range(1, ASSETS, 500)]),
            "only link": partial(resolve_link, connection, ONLY_LINK, instant, field="link"),
            "subgraphs": partial(subgraphs_of_walks, connection, await _walks(connection, QUERY, as_of), QUERY),
        }
        for name, read in reads.items():
            for explained in (explained_plans(database), generic_plans(database)):
                with explained:
                    assert await read()
                _assert_found_by_id(explained, name)


@pytest.mark.parametrize("as_of", [None, LATER], ids=["now", "as of"])
async def test_each_single_read_of_a_walk_finds_rows_by_their_ids(database: Database, as_of: datetime | None) -> None:
    async with database.snapshot(1) as connection:
        (row,) = await product.products_by_name(connection, ["product 5"], as_of)
        (node,) = await nodes_by_id(connection, [(2 * ASSETS, as_of or connection.now)])
    assert row is not None
    assert node is not None
    reads: dict[str, Callable[[ReadConnection], Awaitable[Any]]] = {
        "walks with their assets": lambda it: first_pages(it, [WalkRoot(5, as_of, 100), WalkRoot(9, as_of, 3)], QUERY),
        "walk from a product": lambda it: walks_from_product(it, "product 5", as_of, [Step(QUERY, 100)]),
        "walks from a product": lambda it: walks_from_product(it, "product 5", as_of, [Step(NEIGHBOURS, 9), Step(QUERY, 100)]),
        "product by name": lambda it: product.products_by_name(it, ["product 5"], as_of),
        "product by uid": lambda it: product.products_by_uid(it, [row.uid], as_of),
        "entity by uid": lambda it: entity.entities_by_uid(it, [node.uid], as_of),
        "entity by key": lambda it: entity.entities_by_key(it, [("TABLE", str(ASSETS))], as_of),
    }
    for name, read in reads.items():
        for explained in (explained_plans(database), generic_plans(database)):
            with explained:
                assert await read(database.single_read(1))
            _assert_found_by_id(explained, name)


async def test_assets_and_links_of_a_walk_are_read_once(database: Database) -> None:
    async with database.snapshot(1) as connection:
        # each has three versions
        written = [(asset_id, connection.now) for asset_id in range(3, ASSETS, 300)]
        with row_counts(database) as counted:
            assert all(await nodes_by_id(connection, written))
        assert counted.most_read("product_version_pkey") == len(written)
        pages = await _pages(connection, QUERY, None)
        with explained_plans(database) as explained:
            assert await links_of_pages(connection, pages, QUERY)
        assert "lineage_link_effective_upstream" in explained.indexes
        assert "lineage_link_effective_pkey" not in explained.indexes


def _assert_found_by_id(explained: explained_plans, name: str) -> None:
    """Assert that no table is read whole, and that no version is sought in an index of instants."""
    # the registry has one row, the change log and the statements of links none
    assert explained.scanned_tables <= {"entity_type", "change", "lineage_link_version"}, name
    assert not {index for index in explained.indexes if index.endswith("_by_instant")}, name

"""Walks of a star, which gives the planner statistics by which each asset has thousands of links: none reads all links for each
asset. The tests count the rows that are read."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from db.database import Database
from db.lineage.first_page import WalkRoot, first_pages
from db.lineage.subgraph import links_of_pages, subgraphs_of_walks, whole_links_of_pages
from db.lineage.walk import ALL_ASSETS, AssetFilter, Bounds, Direction, LinkFilter, WalkPage, WalkQuery, run_walks
from tests.builders import day
from tests.databases import prepare_scripts
from tests.db.plans import row_counts

RAYS = 10_000
QUERY = WalkQuery(Direction.UPSTREAM, 3, Bounds(assets=20_000))
FILTERS: dict[str, WalkQuery] = {
    "none": QUERY,
    "confidence": WalkQuery(Direction.UPSTREAM, 3, QUERY.bounds, LinkFilter(min_confidence=0.5)),
    "type": WalkQuery(Direction.UPSTREAM, 3, QUERY.bounds, LinkFilter(types=("DIRECT",))),
    "seen since": WalkQuery(Direction.UPSTREAM, 3, QUERY.bounds, LinkFilter(seen_since=day(0))),
    "domain": WalkQuery(Direction.UPSTREAM, 3, QUERY.bounds, assets=AssetFilter(domains=("sales",))),
}

# Each product but the first feeds the first.
_FILL = f"""
SET session_replication_role = replica;
INSERT INTO domain (tenant_id, name) VALUES (1, 'sales');
INSERT INTO asset (tenant_id, uid, kind) SELECT 1, gen_random_uuid(), 'PRODUCT' FROM generate_series(0, {RAYS});
INSERT INTO product_version (tenant_id, asset_id, valid_from, valid_to, created_at, name, domain, owner, schema, status, version,
  tags, digest)
SELECT 1, id, '{day(0)}', 'infinity', '{day(0)}', 'product ' || id, 'sales', 'ann', '{{}}', 'ACTIVE', '1', '{{}}',
  gen_random_uuid()
FROM asset;
INSERT INTO lineage_link (tenant_id, uid, source_id, target_id)
SELECT 1, gen_random_uuid(), id, 1 FROM asset WHERE id > 1;
INSERT INTO lineage_link_effective (tenant_id, link_id, valid_from, valid_to, source_id, target_id, type, confidence, metadata,
  digest)
SELECT 1, id, '{day(0)}', 'infinity', source_id, target_id, 'DIRECT', 1, '{{}}', gen_random_uuid() FROM lineage_link;
INSERT INTO change (tenant_id, kind, subject_id, operation, change_ts, payload, changed, recorded_at, actor,
  request_id)
SELECT 1, 'LINK', id, 'SET', '{day(0)}', '{{}}', true, '{day(0)}', 'fill', 'fill' FROM lineage_link;
"""


@pytest.fixture(scope="module")
def template(server: str) -> str:
    return prepare_scripts(server, "walk_statistics", _FILL, "VACUUM ANALYZE")


@pytest.mark.parametrize("query", FILTERS.values(), ids=FILTERS)
async def test_a_walk_of_a_star_reads_each_link_once(database: Database, query: WalkQuery) -> None:
    async with database.snapshot(1) as connection:
        (walk,) = await run_walks(connection, [(1, None)], query)
        page = WalkPage(walk, 0, RAYS)
        reads: dict[str, Callable[[], Awaitable[Any]]] = {
            "walks": partial(run_walks, connection, [(1, None)], query),
            "walks with assets": partial(
                first_pages, connection, [WalkRoot(1, None, RAYS * (query.assets == ALL_ASSETS))], query
            ),
            "links of pages": partial(links_of_pages, connection, [page], query),
            "whole links of pages": partial(whole_links_of_pages, connection, [page], query),
            "subgraphs": partial(subgraphs_of_walks, connection, [walk], query),
        }
        assert walk.visited_count == RAYS
        for name, read in reads.items():
            with row_counts(database) as counted:
                assert await read()
            for table in ("lineage_link_effective", "lineage_link", "change", "asset", "product_version"):
                # whole rows of links are read once more
                assert counted.rows_of(table) <= 2 * RAYS + 1, (name, table)
            assert not counted.scanned_tables & {"lineage_link_effective", "change", "asset", "product_version"}, name

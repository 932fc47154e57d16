"""Statements of changes and differences use their indexes, and read no more rows than the page needs."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from db.database import Database
from db.pagination import Page
from db.temporal.change_query import ChangeKind, ChangeQuery, SubjectTypes
from db.temporal.changes import count_changes, list_changes
from db.temporal.changes import cursor_key as change_key
from db.temporal.differences import count_differences, list_differences
from db.temporal.kinds import ASSET_KINDS, KIND_OF
from tests.builders import day
from tests.databases import prepare_scripts, temporary_database
from tests.db.plans import explained_plans, generic_plans, row_counts

pytestmark = [pytest.mark.temporal]

# Two tenants with products and entities of five versions each, ten days apart, some of which are deleted. Each asset has a link
# and a relationship to the next one, with the same periods; of those that end, some end with the asset.
_ASSETS = 2_000
_FILL = f"""
INSERT INTO tenant (name) VALUES ('other');
INSERT INTO domain (tenant_id, name) SELECT t, 'sales' FROM generate_series(1, 2) t;
INSERT INTO entity_type (tenant_id, code, label) SELECT t, 'TABLE', 'Table' FROM generate_series(1, 2) t;
INSERT INTO asset (tenant_id, uid, kind, type)
SELECT t, gen_random_uuid(), CASE n % 2 WHEN 0 THEN 'PRODUCT' ELSE 'ENTITY' END, CASE n % 2 WHEN 0 THEN NULL ELSE 'TABLE' END
FROM generate_series(1, 2) t, generate_series(1, {_ASSETS}) n;
CREATE TEMPORARY TABLE period AS
SELECT a.tenant_id, a.id, a.kind, '2026-01-01'::timestamptz + a.id * interval '1 minute' AS created_at,
  '2026-01-01'::timestamptz + a.id * interval '1 minute' + n * interval '10 days' AS valid_from,
  CASE
    WHEN n < 4 THEN '2026-01-01'::timestamptz + a.id * interval '1 minute' + (n + 1) * interval '10 days'
    WHEN a.id % 100 < 2 THEN '2026-01-01'::timestamptz + a.id * interval '1 minute' + 45 * interval '1 day'
    ELSE 'infinity'
  END AS valid_to, md5(a.id::text || n)::uuid AS digest
FROM asset a, generate_series(0, 4) n;
INSERT INTO product_version (tenant_id, asset_id, valid_from, valid_to, created_at, name, domain, owner, schema, status, version,
  tags, digest)
SELECT tenant_id, id, valid_from, valid_to, created_at, md5(id::text), 'sales', 'ann', '{{}}', 'ACTIVE', '1.0.0', '{{}}', digest
FROM period WHERE kind = 'PRODUCT';
INSERT INTO entity_version (tenant_id, asset_id, valid_from, valid_to, created_at, display_name, details, keys, digest)
SELECT tenant_id, id, valid_from, valid_to, created_at, 'ann', '{{}}', '{{}}', digest FROM period WHERE kind = 'ENTITY';
INSERT INTO change (tenant_id, kind, subject_id, operation, change_ts, payload, changed, recorded_at, actor)
SELECT tenant_id, kind, id, 'SET', valid_from, '{{}}'::jsonb, true, now(), 'filler' FROM period
UNION ALL
SELECT tenant_id, kind, id, 'DELETE', valid_to, NULL, true, now(), 'filler'
FROM period WHERE valid_to = created_at + 45 * interval '1 day';
INSERT INTO asset_lifetime (tenant_id, asset_id, valid_from, valid_to)
SELECT tenant_id, id, min(valid_from), max(valid_to) FROM period GROUP BY tenant_id, id;
INSERT INTO relationship_type (tenant_id, origin, key, related, reverse_key, cardinality, on_delete)
SELECT t, 'ENTITY', 'uses', 'PRODUCT', 'usedBy', 'MANY_TO_MANY', 'CLOSE' FROM generate_series(1, 2) t;
INSERT INTO lineage_link (tenant_id, uid, source_id, target_id)
SELECT a.tenant_id, gen_random_uuid(), a.id, b.id FROM asset a JOIN asset b ON b.tenant_id = a.tenant_id AND b.id = a.id + 1;
INSERT INTO relationship (tenant_id, uid, type_id, origin_id, related_id, one_origin, one_related)
SELECT l.tenant_id, gen_random_uuid(), t.id, l.source_id, l.target_id, false, false
FROM lineage_link l JOIN relationship_type t ON t.tenant_id = l.tenant_id;
INSERT INTO lineage_link_version (tenant_id, link_id, valid_from, valid_to, created_at, type, confidence, metadata, digest)
SELECT p.tenant_id, l.id, p.valid_from,
  CASE WHEN p.id % 100 = 0 AND p.valid_to = p.created_at + 45 * interval '1 day' THEN 'infinity' ELSE p.valid_to END,
  p.created_at, 'DIRECT', 1, '{{}}', p.digest
FROM period p JOIN lineage_link l ON l.tenant_id = p.tenant_id AND l.source_id = p.id;
INSERT INTO lineage_link_effective (tenant_id, link_id, valid_from, valid_to, source_id, target_id, type, confidence, metadata,
  digest)
SELECT p.tenant_id, l.id, p.valid_from, p.valid_to, l.source_id, l.target_id, 'DIRECT', 1, '{{}}', p.digest
FROM period p JOIN lineage_link l ON l.tenant_id = p.tenant_id AND l.source_id = p.id;
INSERT INTO relationship_version (tenant_id, relationship_id, valid_from, valid_to, created_at, attributes, digest)
SELECT p.tenant_id, r.id, p.valid_from, p.valid_to, p.created_at, '{{}}', p.digest
FROM period p JOIN relationship r ON r.tenant_id = p.tenant_id AND r.origin_id = p.id;
INSERT INTO relationship_effective (tenant_id, relationship_id, valid_from, valid_to, type_id, origin_id, related_id, one_origin,
  one_related, attributes, digest)
SELECT p.tenant_id, r.id, p.valid_from, p.valid_to, r.type_id, r.origin_id, r.related_id, false, false, '{{}}', p.digest
FROM period p JOIN relationship r ON r.tenant_id = p.tenant_id AND r.origin_id = p.id;
INSERT INTO change (tenant_id, kind, subject_id, operation, change_ts, payload, changed, recorded_at, actor)
SELECT tenant_id, 'LINK', link_id, 'SET', valid_from, '{{}}'::jsonb, true, now(), 'filler' FROM lineage_link_version
UNION ALL
SELECT tenant_id, 'LINK', link_id, 'DELETE', valid_to, NULL, true, now(), 'filler'
FROM lineage_link_version WHERE valid_to = created_at + 45 * interval '1 day'
UNION ALL
SELECT tenant_id, 'RELATIONSHIP', relationship_id, 'SET', valid_from, '{{}}'::jsonb, true, now(), 'filler'
FROM relationship_version
UNION ALL
SELECT tenant_id, 'RELATIONSHIP', relationship_id, 'DELETE', valid_to, NULL, true, now(), 'filler'
FROM relationship_version WHERE valid_to = created_at + 45 * interval '1 day';
"""


@pytest.fixture(scope="module")
def full_template(server: str) -> str:
    return prepare_scripts(server, "changes", _FILL, "VACUUM ANALYZE")


@pytest.fixture
async def filled(server: str, full_template: str) -> AsyncIterator[Database]:
    async with temporary_database(server, full_template) as address:
        database = Database(address)
        yield database
        await database.close()


BY_INSTANT = {"product_version_by_instant", "entity_version_by_instant"}
BY_SUBJECT = {"product_version_pkey", "entity_version_pkey"}
LOG = {"change_of_ends", "change_in_order"}
EFFECTIVE = {f"{kind}_effective_{edge}" for kind in ("lineage_link", "relationship") for edge in ("starts", "ends")}
OF_ASSOCIATIONS = {"lineage_link_effective_pkey", "relationship_effective_pkey"}
# the planner may scan the few types, where that is cheaper
IDENTITIES = {"entity_type"}
ALL = ChangeQuery(day(-1), day(100))
EVERYTHING = ChangeQuery(day(-1), day(100), subjects=tuple(KIND_OF))
EMPTY_FILTERS: list[dict[str, Any]] = [
    *({name: ()} for name in ("kinds", "assets", "subjects", "domains", "actors", "requests")),
    {"types": SubjectTypes()},
]
LINKS = ChangeQuery(day(-1), day(100), subjects=("LINK",))


@pytest.mark.parametrize("query", [ALL, EVERYTHING], ids=["assets", "everything"])
async def test_page_of_changes_reads_no_more_rows_than_it_holds(filled: Database, query: ChangeQuery) -> None:
    indexes = BY_INSTANT | LOG | (EFFECTIVE if query is EVERYTHING else set())
    async with filled.snapshot(1) as connection:
        middle = (await list_changes(connection, query, Page(500))).items[-1]
        for page in (
            Page(50),
            Page(50, backward=True),
            Page(50, after=change_key(middle)),
            Page(50, backward=True, before=change_key(middle)),
        ):
            with row_counts(filled) as explained:
                assert len((await list_changes(connection, query, page)).items) == 50
            assert explained.indexes >= indexes
            assert explained.scanned_tables <= IDENTITIES
            # the author of a change of an association may be that of a change of an end
            most = page.limit if query is ALL else 2 * page.limit
            assert explained.most_read(*indexes, *BY_SUBJECT, *OF_ASSOCIATIONS) <= most
            with generic_plans(filled) as planned:
                await list_changes(connection, query, page)
            assert planned.indexes >= indexes
            assert planned.scanned_tables <= IDENTITIES


async def test_filter_selects_the_index_that_is_read(filled: Database) -> None:
    async with filled.snapshot(1) as connection:
        ids = tuple(it.subject_id for it in (await list_changes(connection, ALL, Page(3))).items)
        page, ends = Page(50), {"lineage_link_effective_ends"}
        filters: dict[str, Any]
        for query, filters, indexes, most in (
            (ALL, {"kinds": (ChangeKind.DELETED,)}, {"change_of_ends"}, page.limit),
            (ALL, {"kinds": (ChangeKind.CREATED, ChangeKind.UPDATED)}, BY_INSTANT, page.limit),
            (ALL, {"subjects": ("ENTITY",)}, {"entity_version_by_instant"}, page.limit),
            (ALL, {"assets": ids}, BY_SUBJECT, len(ids) * 5),
            # finds the ends among those of updates
            (LINKS, {"kinds": (ChangeKind.DELETED,)}, ends, 5 * _ASSETS),
            (LINKS, {"kinds": (ChangeKind.DELETED,), "actors": ("filler",)}, ends, 5 * _ASSETS),
            (LINKS, {"actors": ("filler",), "domains": ("sales",)}, ends, 4 * page.limit),
            (LINKS, {"types": SubjectTypes(links=("DIRECT",))}, {"lineage_link_effective_starts"}, 2 * page.limit),
            (LINKS, {"assets": ids}, {"lineage_link_effective_pkey", "lineage_link_taken", "lineage_link_by_target"}, 40),
        ):
            with row_counts(filled) as explained:
                assert (await list_changes(connection, replace(query, **filters), page)).items
            assert explained.indexes >= indexes, filters
            assert explained.scanned_tables <= IDENTITIES
            assert explained.most_read(*BY_INSTANT, *BY_SUBJECT, *LOG, *EFFECTIVE, *OF_ASSOCIATIONS) <= most


@pytest.mark.parametrize("subjects", [tuple(it.name for it in ASSET_KINDS), tuple(KIND_OF)], ids=["assets", "everything"])
async def test_differences_read_only_changes_in_between(filled: Database, subjects: tuple[str, ...]) -> None:
    indexes = {*BY_INSTANT, *BY_SUBJECT, "change_of_ends", *(EFFECTIVE | OF_ASSOCIATIONS if "LINK" in subjects else ())}
    async with filled.snapshot(1) as connection:
        window = ChangeQuery(day(45.5), day(46), subjects=subjects)
        total = await count_changes(connection, window)
        for page in (Page(50), Page(50, backward=True), Page(50, after=(0, 1_000))):
            with row_counts(filled) as explained:
                assert (await list_differences(connection, window, page)).items
            assert explained.indexes >= indexes
            assert explained.scanned_tables <= IDENTITIES
            assert explained.most_read(*indexes) <= total
        with row_counts(filled) as explained:
            assert await count_differences(connection, window)
        assert explained.scanned_tables == set()


async def test_empty_filter_runs_no_statement(filled: Database) -> None:
    async with filled.snapshot(1) as connection:
        for filters in EMPTY_FILTERS:
            query = replace(ALL, **filters)
            with explained_plans(filled) as explained:
                assert (await list_changes(connection, query, Page(5))).items == []
                assert (await list_differences(connection, query, Page(5))).items == []
                assert (await count_changes(connection, query), await count_differences(connection, query)) == (0, 0)
                assert explained.plans == []
                # without the empty filter there are statements
                assert await count_changes(connection, ALL) > 0
                assert len(explained.plans) == 1


def test_every_asset_kind_is_read_by_default() -> None:
    assert {it.name for it in ALL.kinds_of_subjects} == {it.name for it in ASSET_KINDS}

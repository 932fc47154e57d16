"""Each read of products and domains uses the index that it is meant to, as the service's role under row-level security."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import asyncpg
import pytest

from db.assets import asset, product
from db.assets.domain import DomainAt, domains_at, domains_by_name, owners_by_domain
from db.assets.product_query import (
    ProductOrder,
    ProductQuery,
    count_products,
    count_products_by_domain,
    cursor_key,
    list_products,
    products_by_domain,
)
from db.assets.reference import AssetRef, resolve
from db.associations.association import EndRefs
from db.associations.stub import create_missing_ends
from db.author import Author
from db.connection import ReadConnection
from db.database import Database
from db.pagination import Page
from db.temporal.history import histories
from db.temporal.kinds import PRODUCT
from tests.builders import day
from tests.databases import prepare_now
from tests.db.plans import explained_plans, generic_plans, indexes_of, plans_in_functions, scanned_tables_of

PRODUCTS = 4_000
VERSIONS = 5

# Two tenants, each with products; each product with versions and the changes that led to them.
_FILL = f"""
INSERT INTO tenant (name) VALUES ('other');
INSERT INTO domain (tenant_id, name) SELECT t, 'domain ' || n FROM generate_series(1, 2) t, generate_series(0, 9) n;
INSERT INTO asset (tenant_id, uid, kind)
SELECT t, gen_random_uuid(), 'PRODUCT' FROM generate_series(1, 2) t, generate_series(1, {PRODUCTS});
INSERT INTO product_version (tenant_id, asset_id, valid_from, valid_to, created_at, name, domain, owner, description, schema,
  status, version, tags, digest)
SELECT a.tenant_id, a.id, '2025-01-01'::timestamptz + n * interval '30 days',
  CASE n WHEN {VERSIONS - 1} THEN 'infinity' ELSE '2025-01-01'::timestamptz + (n + 1) * interval '30 days' END,
  '2025-01-01', 'product ' || md5(a.id::text), 'domain ' || a.id % 10, 'owner ' || a.id % 50, md5(a.id::text || n), '{{}}',
  'ACTIVE', '1.0.' || n, '{{}}', md5(a.id::text || n)::uuid
FROM asset a, generate_series(0, {VERSIONS - 1}) n;
INSERT INTO asset_lifetime (tenant_id, asset_id, valid_from, valid_to)
SELECT tenant_id, id, '2025-01-01', 'infinity' FROM asset;
INSERT INTO change (tenant_id, kind, subject_id, operation, change_ts, payload, changed, recorded_at, actor)
SELECT tenant_id, 'PRODUCT', asset_id, 'SET', valid_from, '{{}}', true, now(), 'filler' FROM product_version;
ANALYZE;
"""


# One product with a version for each minute, the last ones of all.
_MANY_VERSIONS = """
WITH busy AS (
  INSERT INTO asset (tenant_id, uid, kind) VALUES (1, gen_random_uuid(), 'PRODUCT') RETURNING id
)
INSERT INTO product_version (tenant_id, asset_id, valid_from, valid_to, created_at, name, domain, owner, schema, status, version,
  tags, digest)
SELECT 1, busy.id, '2026-01-01'::timestamptz + n * interval '1 minute',
  CASE n WHEN 9999 THEN 'infinity' ELSE '2026-01-01'::timestamptz + (n + 1) * interval '1 minute' END,
  '2026-01-01', 'busy', 'domain 1', 'owner', '{}', 'ACTIVE', '1.0.0', '{}', md5(n::text)::uuid
FROM busy, generate_series(0, 9999) n;
ANALYZE product_version;
"""


@pytest.fixture(scope="module")
def template(server: str) -> str:
    return prepare_now(server, "product_plans", fill)


async def fill(address: str) -> None:
    owner = await asyncpg.connect(address)
    await owner.execute(_FILL)
    await owner.close()


async def test_each_read_uses_its_index(database: Database) -> None:
    async with database.snapshot(1) as connection:
        page = await list_products(connection, ProductQuery(), Page(50))
        row = page.items[7]
        key = cursor_key(row, ProductOrder.NAME)
        ids = [it.asset_id for it in page.items]
        for read, index in (
            (partial(product.products_by_name, connection, [row.name], None), "product_version_named"),
            (partial(product.products_by_name, connection, [row.name], day(-200)), "product_version_named"),
            (partial(product.products_by_uid, connection, [row.uid], None), "asset_uid_taken"),
            (partial(product.products_by_uid, connection, [row.uid], day(-200)), "product_version_pkey"),
            (partial(list_products, connection, ProductQuery(), Page(50)), "product_version_by_name"),
            (
                partial(list_products, connection, ProductQuery(as_of=day(-200)), Page(50, after=key)),
                "product_version_by_name",
            ),
            (partial(list_products, connection, ProductQuery(), Page(50, backward=True)), "product_version_by_name"),
            (partial(histories, connection, ids, PRODUCT, Page(3)), "product_version_pkey"),
            (partial(histories, connection, ids, PRODUCT, Page(3)), "change_in_order"),
        ):
            with explained_plans(database) as explained:
                assert await read()
            assert index in explained.indexes
            assert explained.scanned_tables == set()


async def test_a_domain_is_found_by_its_name_among_many(database: Database, address: str) -> None:
    owner = await asyncpg.connect(address)
    await owner.execute("INSERT INTO domain SELECT 1, 'other domain ' || n FROM generate_series(1, 5000) n; ANALYZE domain")
    await owner.close()
    async with database.snapshot(1) as connection:
        for hook in (explained_plans(database), generic_plans(database)):
            with hook as explained:
                assert await domains_by_name(connection, ["domain 7", "none"], day(0)) == ["domain 7", None]
            assert "domain_pkey" in explained.indexes


async def test_a_single_read_without_an_instant_uses_its_index_whatever_the_plan(database: Database) -> None:
    row = (await list_products(database.single_read(1), ProductQuery(), Page(50))).items[7]
    reads: list[tuple[Callable[[ReadConnection], Awaitable[Any]], str]] = [
        (lambda it: product.products_by_name(it, [row.name], None), "product_version_named"),
        (lambda it: product.products_by_uid(it, [row.uid], None), "asset_uid_taken"),
        (lambda it: list_products(it, ProductQuery(), Page(50)), "product_version_by_name"),
    ]
    for read, index in reads:
        for explained in (explained_plans(database), generic_plans(database)):
            with explained:
                assert await read(database.single_read(1))
            assert index in explained.indexes
            assert explained.scanned_tables == set()


async def test_each_read_of_domains_uses_the_index_by_domain(database: Database) -> None:
    async with database.snapshot(1) as connection:
        for instant in (day(0), day(-200)):
            domains = [DomainAt(f"domain {number}", instant) for number in range(10)]
            reads: dict[str, Callable[[], Awaitable[Any]]] = {
                "all": partial(domains_at, connection, [instant]),
                "by name": partial(domains_by_name, connection, ["domain 7"], instant),
                "owners": partial(owners_by_domain, connection, domains),
                "pages": partial(products_by_domain, connection, domains, ProductQuery(), Page(5)),
                "last pages": partial(products_by_domain, connection, domains, ProductQuery(), Page(5, backward=True)),
                "count": partial(count_products_by_domain, connection, domains[:1], ProductQuery()),
            }
            for name, read in reads.items():
                with explained_plans(database) as explained:
                    assert await read()
                assert "product_version_by_domain" in explained.indexes, name
                # the registries have one page each
                assert explained.scanned_tables <= {"domain", "entity_type"}, name


async def test_a_write_reads_only_rows_of_its_subject(database: Database) -> None:
    async with database.transaction(1, Author("writer")) as connection:
        (row,) = (await list_products(connection, ProductQuery(), Page(1))).items
        with explained_plans(database) as explained:
            await product.update(connection, row.uid, {"owner": "current"})
            await product.update(connection, row.uid, {"owner": "late"}, at=day(-200))
        assert {"asset_uid_taken", "change_in_order", "product_version_pkey"} <= explained.indexes
        assert explained.scanned_tables == set()


ORDERS = {
    ProductOrder.NAME: "product_version_by_name",
    ProductOrder.UPDATED_AT: "product_version_by_instant",
    ProductOrder.CREATED_AT: "product_version_by_creation",
    ProductOrder.OWNER: "product_version_by_owner",
}


@pytest.mark.parametrize("order", ORDERS)
async def test_a_page_in_an_indexed_order_sorts_nothing(database: Database, order: ProductOrder) -> None:
    async with database.snapshot(1) as connection:
        for as_of in (None, day(-200)):
            query = ProductQuery(order=order, descending=as_of is None, as_of=as_of)
            first = (await list_products(connection, query, Page(50))).items
            after = Page(50, after=cursor_key(first[-1], order))
            for page in (Page(50), after, Page(50, backward=True)):
                for explained in (explained_plans(database), generic_plans(database)):
                    with explained:
                        assert len((await list_products(connection, query, page)).items) == 50
                    assert ORDERS[order] in explained.indexes, (page, as_of)
                    assert explained.scanned_tables == set()
                    assert "Sort'" not in str(explained.plans), (page, as_of)


@pytest.mark.parametrize("order", [ProductOrder.NAME, ProductOrder.UPDATED_AT])
@pytest.mark.parametrize("named", ["uids", "names"])
async def test_a_filter_of_many_products_looks_each_up(database: Database, named: str, order: ProductOrder) -> None:
    lookups = {
        "uids": {"asset_uid_taken", "product_version_pkey", "product_version_current"},
        "names": {"product_version_named", "product_version_by_name"},
    }[named]
    async with database.snapshot(1) as connection:
        rows = (await list_products(connection, ProductQuery(), Page(20))).items
        values: Any = {"uids": tuple(it.uid for it in rows), "names": tuple(it.name for it in rows)}[named]
        for as_of in (None, day(-200)):
            query = ProductQuery(**{named: values}, order=order, as_of=as_of)
            for explained in (explained_plans(database), generic_plans(database)):
                with explained:
                    assert len((await list_products(connection, query, Page(100))).items) == len(rows)
                    assert await count_products(connection, query) == len(rows)
                assert explained.indexes <= lookups | {"asset_pkey"}
                assert explained.scanned_tables == set()


@pytest.mark.parametrize("explain", [explained_plans, generic_plans])
async def test_what_a_stub_or_a_deletion_names_is_found_by_the_index_of_names(database: Database, explain: Any) -> None:
    async with database.snapshot(1) as connection:
        (row,) = (await list_products(connection, ProductQuery(), Page(1))).items
    async with database.transaction(1, Author("writer")) as connection:
        await asset.delete(connection, PRODUCT, row.uid)
        names, instants = [AssetRef(product=row.name), AssetRef(product="nothing")], [None, None]
        with explain(database) as explained:
            assert await asset.lock_stub(connection, row.name, None) == (None, False)
            found, nothing = await resolve(connection, names, instants)
            assert (found.uid, found.alive, nothing.is_found) == (row.uid, False, False)
            link = AssetRef(product="new"), AssetRef(product="newer")
            await create_missing_ends(connection, EndRefs(*link, day(-200)), fields=("source", "target"))
        assert "product_version_named" in explained.indexes
        # these are empty, or have one page
        assert explained.scanned_tables <= {"entity_key", "entity_version", "domain"}


@pytest.mark.parametrize("explain", [explained_plans, generic_plans])
async def test_a_name_is_found_by_its_index_however_many_versions_others_have(
    database: Database, address: str, explain: Any
) -> None:
    owner = await asyncpg.connect(address)
    await owner.execute(_MANY_VERSIONS)
    await owner.close()
    async with database.snapshot(1) as connection:
        (row,) = (await list_products(connection, ProductQuery(), Page(1))).items
        refs = [AssetRef(product=row.name), AssetRef(product="nothing"), AssetRef(product="busy")]
        for at in (None, day(-200)):
            with explain(database) as explained:
                await resolve(connection, refs, [at] * len(refs))
            assert "product_version_named" in explained.indexes
            assert "product_version_by_instant" not in explained.indexes
            assert explained.scanned_tables <= {"entity_key", "entity_version"}


@pytest.mark.parametrize("bound", ["NULL", "100"])
async def test_a_search_uses_the_indexes_of_texts_and_names_only(address: str, bound: str) -> None:
    search = f"SELECT * FROM search_assets(1, '3f9a', now(), '{{PRODUCT,ENTITY}}', {bound}, with_tags => '{{x}}')"
    plans = await plans_in_functions(address, 1, search)
    # there are no entities
    used = {it for it in indexes_of(plans) if it.startswith("product_version")}
    assert used == {"product_version_search"} | ({"product_version_by_prefix"} if bound != "NULL" else set())
    assert scanned_tables_of(plans) == set()


@pytest.mark.parametrize("filtered", ["domains", "owners", "tags"])
async def test_many_values_of_a_filter_are_hashed(database: Database, filtered: str) -> None:
    # a list in a parameter would be searched from its start for each product
    values: Any = {filtered: tuple(f"value {number}" for number in range(1_000))}
    many = ProductQuery(**values)
    async with database.snapshot(1) as connection:
        with generic_plans(database) as explained:
            assert await count_products(connection, many) == 0
            assert (await list_products(connection, many, Page(50))).items == []
    assert len(explained.plans) == 2
    for plan in map(str, explained.plans):
        # that of the tags is in an aggregate, the expressions of which a plan does not show
        assert "hashed SubPlan" in plan or (filtered == "tags" and plan.count("'Strategy': 'Plain'") >= 1)
        assert "Semi" not in plan
        assert "ANY ($" not in plan
        assert "&&" not in plan

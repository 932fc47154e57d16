"""Tests of the isolation of two tenants: by the predicate of each statement, and by row-level security without it."""

import re
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from db.assets import entity, entity_query, product, product_query
from db.assets.entity_query import EntityQuery
from db.assets.product_query import ProductQuery
from db.assets.reference import AssetRef
from db.author import Author
from db.connection import ReadConnection
from db.database import Database
from db.errors import HeadwaterError, ReadOnly, Unavailable
from db.lineage.walk import Direction
from db.pagination import Page
from db.sql import Statement, render, text, tokens_of
from db.tables import metadata
from db.temporal.kind import Kind, projection_path
from db.temporal.kinds import ASSET_KINDS, ASSOCIATION_KINDS, ENTITY, PRODUCT, RELATIONSHIP
from db.tenancy.tenant import all_tenants
from tests.builders import day
from tests.db.conftest import OTHER


def without_predicate(statement: str) -> Statement:
    """Return a statement without its predicate on the tenant."""
    unguarded = re.sub(r"(\w+\.)?tenant_id = :tenant", "true", statement.replace("CAST(:tenant AS bigint)", ":tenant"))
    assert "tenant_id = :" not in unguarded
    return text(unguarded)


def composed_without_predicate(statement: Statement) -> Statement:
    """Return a composed statement without its predicate on the tenant."""
    tenant = f"${statement.parameters.index('tenant') + 1}::BIGINT"
    predicate = rf"\w+\.tenant_id = \(SELECT {re.escape(tenant)} AS \w+\)"
    unguarded, removed = re.subn(predicate, f"{tenant} IS NOT NULL", statement.text)
    assert removed
    return replace(statement, text=unguarded)


def render_known(path: str, **tokens: str) -> str:
    """Render a statement with those of the tokens that it has."""
    return render(path, {token: value for token, value in tokens.items() if token in tokens_of(path)})


@pytest.mark.parametrize("table", sorted(metadata.tables))
async def test_tenant_sees_only_its_rows_of_a_table(two_tenants: Database, table: str) -> None:
    for tenant_id in (1, OTHER):
        async with two_tenants.snapshot(tenant_id) as connection:
            rows = await connection.fetch(text(f"SELECT tenant_id FROM {table}"))
            assert {row.tenant_id for row in rows} == {tenant_id}


STATEMENTS = ["temporal/history", "temporal/verify_versions", "temporal/count_versions", "temporal/count_history"]


@pytest.mark.parametrize(
    ("kind", "statement"),
    [
        *((kind, it) for kind in ASSET_KINDS for it in STATEMENTS),
        (ENTITY, "assets/verify_details"),
        *(
            (kind, it)
            for kind in ASSOCIATION_KINDS
            for it in (
                "temporal/verify_versions",
                "temporal/count_versions",
                "temporal/count_history",
                "consistency/verify_associations",
            )
        ),
        *((RELATIONSHIP, projection_path(it, "verify")) for it in RELATIONSHIP.verifications),
    ],
    ids=lambda it: it if isinstance(it, str) else it.name,
)
async def test_statement_without_predicate_returns_no_rows_of_another_tenant(
    two_tenants: Database, kind: Kind, statement: str
) -> None:
    subjects = []
    unguarded = without_predicate(kind.render(statement, **({"direction": "ASC"} if statement == "temporal/history" else {})))
    for tenant_id in (1, OTHER):
        async with two_tenants.snapshot(tenant_id) as connection:
            own = await own_subject(connection, kind)
            parameters = {"kind": kind.name, "subjects": [1, 2, 3, 4], "after": None, "before": None, "limit": 10}
            rows = await connection.fetch(unguarded, parameters)
            if statement == "temporal/history":
                assert [row.subject_id for row in rows] == [own]
            elif statement == "temporal/count_history":
                assert [(row.subject_id, row.versions) for row in rows] == [(own, 1)]
            elif statement == "temporal/count_versions":
                assert [row.versions for row in rows] == [1]
            else:
                assert rows == []
            subjects.append(own)
    assert len(set(subjects)) == 2


@pytest.mark.parametrize("statement", ["entities by key", "assets/details_by_entity", "registries/type_registry"])
async def test_read_of_entities_without_predicate_returns_no_rows_of_another_tenant(
    two_tenants: Database, statement: str
) -> None:
    if statement == "entities by key":
        unguarded = composed_without_predicate(entity._by_key(None))
    else:
        unguarded = without_predicate(render_known(statement))
    parameters: dict[str, Any] = {
        "types": ["note"] if statement == "assets/details_by_entity" else ["PERSON"],
        "keys": ["7"],
        "assets": [1, 2, 3, 4],
        "instants": [day(1)] * 4,
        "instant": day(1),
        "as_of": day(1),
    }
    for tenant_id in (1, OTHER):
        async with two_tenants.snapshot(tenant_id) as connection:
            rows = await connection.fetch(unguarded, parameters)
            own = await own_subject(connection, ENTITY)
            if statement == "registries/type_registry":
                assert [row.code for row in rows] == ["PERSON", "note"]
            elif statement == "assets/details_by_entity":
                assert [parameters["assets"][row.ordinal - 1] for row in rows] == [own]
            else:
                assert [row.asset_id for row in rows] == [own]


# Expected rows with a product, an entity and a link between them; an asset of the tenant is named by its kind.
STATISTICS: dict[str, list[tuple[Any, ...]]] = {
    "assets/domains": [("people",), ("sales",)],
    "assets/domains_by_name": [("sales",)],
    "assets/owners_by_domain": [(1, "owner", 1)],
    "lineage/product_statistics": [("sales", "ACTIVE", 1, 1), ("sales", None, 1, 1)],
    "lineage/crossing_links": [("people", 1, 0), ("sales", 0, 1)],
    "lineage/link_statistics": [("DIRECT", 1, 1.0), (None, 1, 1.0)],
    "lineage/count_unlinked": [(1,)],
    "lineage/most_linked": [("product", 1)],
    "lineage/edges": [(["product"], ["entity"])],
}


@pytest.mark.parametrize("statement", STATISTICS)
async def test_statistic_without_predicate_counts_no_rows_of_another_tenant(two_tenants: Database, statement: str) -> None:
    near, far = Direction.DOWNSTREAM.ends
    unguarded = without_predicate(render_known(statement, near=near, far=far))
    parameters = {"instant": day(1), "names": ["sales"], "domains": ["sales"], "instants": [day(1)], "limit": 10}
    for tenant_id in (1, OTHER):
        async with two_tenants.snapshot(tenant_id) as connection:
            rows = await connection.fetch(unguarded, parameters)
            own: dict[int, Any] = {
                await own_subject(connection, PRODUCT): "product",
                await own_subject(connection, ENTITY): "entity",
            }
        actual: list[tuple[Any, ...]]
        if statement == "lineage/most_linked":
            actual = [(own[row.asset_id], row.degree) for row in rows]
        elif statement == "lineage/edges":
            actual = [([own[it] for it in row.sources], [own[it] for it in row.targets]) for row in rows]
        elif statement == "assets/owners_by_domain":
            actual = [(row.ordinal, row.owner.removesuffix(f" {tenant_id}"), row.products) for row in rows]
        else:
            actual = [tuple(row) for row in rows]
        assert sorted(actual, key=str) == sorted(STATISTICS[statement], key=str)


# Statements on relationships, each with the value to compare: a product is owned by an entity, and both are read.
OF_RELATIONSHIPS: dict[str, Any] = {
    "associations/related": lambda row: row.other_id,
    "associations/count_related": lambda row: row.assets,
    "associations/relationships_of_assets": lambda row: row.relationship_id,
    "associations/count_relationships_of_assets": lambda row: row.relationships,
    "registries/count_relationship_type_use": lambda row: row.relationships,
    "consistency/on_delete_targets": lambda row: row.other_id,
    "assets/resolve_references": lambda row: row.id,
    "registries/lock_relationship_types_shared": lambda row: row.id,
    "registries/relationship_keys_taken": lambda row: row.code,
    "associations/stub_types": lambda row: row.code,
}


@pytest.mark.parametrize("statement", OF_RELATIONSHIPS)
async def test_statement_on_relationships_without_predicate_returns_no_rows_of_another_tenant(
    two_tenants: Database, address: str, statement: str
) -> None:
    unguarded = without_predicate(render_known(statement, direction="ASC"))
    owner = await asyncpg.connect(address)
    await owner.execute("UPDATE relationship_type SET on_delete = 'CASCADE'; UPDATE entity_type SET source = '{}'")
    types = [it["id"] for it in await owner.fetch("SELECT id FROM relationship_type ORDER BY tenant_id")]
    assets = [it["id"] for it in await owner.fetch("SELECT id FROM asset")]
    await owner.close()
    for tenant_id in (1, OTHER):
        async with two_tenants.transaction(tenant_id, Author("reader")) as connection:
            own = {kind.name: await own_subject(connection, kind) for kind in (PRODUCT, ENTITY, RELATIONSHIP)}
            type_id = types[tenant_id - 1]
            parameters: dict[str, Any] = {
                "assets": assets, "subjects": assets, "instants": [day(1)] * len(assets), "forward": types, "reverse": types,
                "after": -1, "before": 2**62, "limit": 10, "type": type_id, "names": ["owned_by"], "codes": ["PERSON"],
                "near": ["PRODUCT"], "far": ["PERSON"], "now": day(1), "uids": [None], "types": ["PERSON"], "products": [None],
                "with_source": True,
                **{f"after_{number}": -1 for number in range(3)}, **{f"before_{number}": 2**62 for number in range(3)},
            }  # fmt: skip
            parameters["keys"] = ["7"] if statement == "assets/resolve_references" else ["owned_by"]
            rows = await connection.fetch(unguarded, parameters)
        assert sorted(OF_RELATIONSHIPS[statement](row) for row in rows) == {
            "associations/related": sorted([own["PRODUCT"], own["ENTITY"]]),
            "consistency/on_delete_targets": sorted([own["PRODUCT"], own["ENTITY"]]),
            "associations/relationships_of_assets": [own["RELATIONSHIP"]] * 2,
            "assets/resolve_references": [own["ENTITY"]],
            "registries/lock_relationship_types_shared": [type_id],
            "registries/relationship_keys_taken": [],
            "associations/stub_types": ["PERSON"],
            "registries/count_relationship_type_use": [1],
        }.get(statement, [1, 1])


async def own_subject(connection: ReadConnection, kind: Kind) -> int:
    of_kind = "WHERE kind = :kind" if kind.is_asset_kind else f"WHERE :kind = '{kind.name}'"
    (own,) = await connection.fetch(text(f"SELECT id FROM {kind.identities.name} {of_kind}"), {"kind": kind.name})
    return int(own.id)


async def test_the_search_function_reads_the_tenant_that_is_given_and_set(two_tenants: Database) -> None:
    for tenant_id in (1, OTHER):
        async with two_tenants.snapshot(tenant_id) as connection:
            for kind, searched in ((PRODUCT, "orders"), (ENTITY, "ann")):
                for bound in ("NULL", "10"):
                    search = text(
                        "SELECT asset_id FROM search_assets(CAST(:given AS bigint),"
                        f" '{searched}', '2026-03-01', ARRAY['{kind.name}'], {bound})"
                    )
                    rows = {given: await connection.fetch(search, {"given": given}) for given in (1, OTHER)}
                    assert [row.asset_id for row in rows.pop(tenant_id)] == [await own_subject(connection, kind)]
                    assert list(rows.values()) == [[]]


async def test_read_and_write_by_name_affect_the_own_tenant_only(two_tenants: Database) -> None:
    for tenant_id in (1, OTHER):
        async with two_tenants.transaction(tenant_id, Author("writer")) as connection:
            await product.update(connection, AssetRef(product="orders"), {"description": f"of {tenant_id}"})
    for tenant_id in (1, OTHER):
        async with two_tenants.snapshot(tenant_id) as connection:
            (row,) = (await product_query.list_products(connection, ProductQuery(search="orders"), Page(10))).items
            assert (row.owner, row.description) == (f"owner {tenant_id}", f"of {tenant_id}")
            (by_key,) = await entity.entities_by_key(connection, [("PERSON", "7")], None)
            (listed,) = (await entity_query.list_entities(connection, EntityQuery(search="ANN"), Page(10))).items
            assert by_key is not None
            assert by_key.asset_id == listed.asset_id
            assert by_key.details == {"note": f"of {tenant_id}"}


@pytest.mark.parametrize(
    "forbidden",
    [
        "INSERT INTO asset (tenant_id, uid, kind) VALUES (2, gen_random_uuid(), 'PRODUCT')",
        "INSERT INTO domain (tenant_id, name) VALUES (2, 'x')",
        "INSERT INTO entity_type (tenant_id, code, label) VALUES (2, 'x', 'x')",
        "INSERT INTO asset (tenant_id, uid, kind, type) VALUES (1, gen_random_uuid(), 'ENTITY', 'NONE')",
        "INSERT INTO relationship_type (tenant_id, origin, key, related, reverse_key, cardinality, on_delete)"
        " VALUES (2, 'PRODUCT', 'x', 'PRODUCT', 'y', 'ONE_TO_ONE', 'CLOSE')",
        "INSERT INTO relationship_key SELECT 2, near, 'x', far, type_id FROM relationship_key",
        "INSERT INTO relationship (tenant_id, uid, type_id, origin_id, related_id, one_origin, one_related)"
        " SELECT 2, gen_random_uuid(), type_id, related_id, origin_id, false, false FROM relationship",
        "UPDATE relationship_effective SET tenant_id = 2",
        "UPDATE relationship_version SET tenant_id = 2",
        "DELETE FROM relationship",
        "UPDATE change SET actor = 'me'",
        "DELETE FROM change",
        "DELETE FROM asset",
        "UPDATE tenant SET name = 'mine'",
        "INSERT INTO tenant (name) VALUES ('mine')",
        "ALTER TABLE change DISABLE ROW LEVEL SECURITY",
        "TRUNCATE change",
    ],
)
async def test_service_can_neither_write_another_tenant_nor_rewrite_the_log(two_tenants: Database, forbidden: str) -> None:
    with pytest.raises((asyncpg.InsufficientPrivilegeError, HeadwaterError)):
        async with two_tenants.transaction(1, Author("intruder")) as connection:
            await connection.execute(text(forbidden))


async def test_snapshot_cannot_write(two_tenants: Database) -> None:
    with pytest.raises(ReadOnly):
        async with two_tenants.snapshot(1) as connection:
            await connection.fetch(text("INSERT INTO domain (tenant_id, name) VALUES (1, 'x') RETURNING name"))


async def test_owner_sees_every_tenant(two_tenants: Database, address: str) -> None:
    assert [(it.tenant_id, it.name) for it in await all_tenants(address)] == [(1, "default"), (OTHER, "other")]


async def test_user_who_is_not_the_owner_is_refused(two_tenants: Database, address: str) -> None:
    owner = await asyncpg.connect(address)
    await owner.execute("CREATE ROLE headwater_test_member LOGIN IN ROLE headwater_service")
    try:
        member = address.replace("headwater@", "headwater_test_member@")
        with pytest.raises(Unavailable, match="owns the tables"):
            await all_tenants(member)
        service = Database(member)
        async with service.snapshot(1) as connection:
            assert (await product.products_by_name(connection, ["orders"], None))[0]
        await service.close()
    finally:
        await owner.execute("DROP ROLE headwater_test_member")
        await owner.close()

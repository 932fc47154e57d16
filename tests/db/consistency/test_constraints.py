"""Constraints of the database: PostgreSQL rejects invalid rows from any writer."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from db.assets import entity
from db.assets.asset import IdentitySpec
from db.assets.reference import AssetRef
from db.associations import lineage_link, relationship
from db.author import Author
from db.database import Database
from db.registries import detail_type, entity_type, relationship_type
from tests.builders import day

pytestmark = pytest.mark.constraints

_VERSION = (
    "INSERT INTO entity_version (tenant_id, asset_id, valid_from, valid_to, created_at, display_name, details, keys, digest)"
    " VALUES (1, {asset}, {since}, {until}, {created}, 'x', '{{}}', '{{}}', gen_random_uuid())"
)
_DETAIL = (
    "INSERT INTO entity_detail (tenant_id, asset_id, detail_type, valid_from, valid_to, value)"
    " VALUES (1, {asset}, {type}, {since}, {until}, 'x')"
)
_LINK_VERSION = (
    "INSERT INTO lineage_link_version (tenant_id, link_id, valid_from, valid_to, created_at, type, confidence, metadata, digest)"
    " SELECT 1, id, '2025-01-01', '2025-02-01', '2025-01-01', {type}, {confidence}, '{{}}', gen_random_uuid() FROM lineage_link"
)
_EFFECTIVE_LINK = (
    "INSERT INTO lineage_link_effective (tenant_id, link_id, valid_from, valid_to, source_id, target_id, type, confidence,"
    " metadata, digest)"
    " SELECT 1, id, {since}, {until}, source_id, target_id, 'DIRECT', 1, '{{}}', gen_random_uuid() FROM lineage_link"
)
_LINK = (
    "INSERT INTO lineage_link (tenant_id, uid, source_id, target_id, producer)"
    " SELECT 1, gen_random_uuid(), {source}, target_id, {producer} FROM lineage_link"
)
_TYPE = (
    "INSERT INTO relationship_type (tenant_id, origin, key, related, reverse_key, cardinality, on_delete)"
    " VALUES (1, {origin}, {key}, {related}, {reverse_key}, {cardinality}, {on_delete})"
)
_RELATIONSHIP = (
    "INSERT INTO relationship (tenant_id, uid, type_id, origin_id, related_id, one_origin, one_related)"
    " SELECT {tenant}, {uid}, type_id, {origin}, {related}, one_origin, one_related FROM relationship"
)
_RELATIONSHIP_VERSION = (
    "INSERT INTO relationship_version (tenant_id, relationship_id, valid_from, valid_to, created_at, attributes, digest)"
    " SELECT 1, {relationship}, {since}, {until}, {created}, '{{}}', gen_random_uuid() FROM relationship"
)
_EFFECTIVE_RELATIONSHIP = (
    "INSERT INTO relationship_effective (tenant_id, relationship_id, valid_from, valid_to, type_id, origin_id, related_id,"
    " one_origin, one_related, attributes, digest)"
    " SELECT 1, {relationship}, {since}, {until}, type_id, {origin}, {related}, one_origin,"
    " one_related, '{{}}', gen_random_uuid() FROM relationship"
)
# A second relationship of a ONE_TO_ONE type: it may coexist with the first only if they share no end.
_RIVAL = (
    "WITH another AS (INSERT INTO relationship (tenant_id, uid, type_id, origin_id, related_id, one_origin, one_related)"
    " SELECT 1, gen_random_uuid(), type_id, {origin}, {related}, one_origin, one_related FROM relationship RETURNING *)"
    " INSERT INTO relationship_effective SELECT 1, id, '2026-02-01', 'infinity', type_id, origin_id, related_id,"
    " one_origin, one_related, '{{}}', gen_random_uuid() FROM another"
)


def type_row(**changes: str) -> str:
    values = {"origin": "PERSON", "key": "serves", "related": "ENTITY", "reverse_key": "served_by"}
    values |= {"cardinality": "ONE_TO_ONE", "on_delete": "CLOSE", **changes}
    return _TYPE.format(**{name: f"'{value}'" for name, value in values.items()})


def relationship_row(**changes: str) -> str:
    values = {"tenant": "1", "uid": "gen_random_uuid()", "origin": "related_id", "related": "origin_id"}
    return _RELATIONSHIP.format(**{**values, **changes})


def period_row(template: str, **changes: str) -> str:
    values = {"relationship": "id", "since": "'2025-02-01'", "until": "'2025-03-01'", "created": "'2025-01-01'"}
    return template.format(**{**values, "origin": "origin_id", "related": "related_id", **changes})


BO = "(SELECT asset_id FROM entity_key WHERE compared = '8')"
CY = "(SELECT asset_id FROM entity_key WHERE compared = '9')"
# an entity of another tenant
DI = "(SELECT id FROM asset WHERE tenant_id = 2)"
ANN = "(SELECT asset_id FROM entity_key WHERE compared = '7')"

# Statements by the constraint that they violate. Ann exists since January 1st, with a detail, a link to Bo, and a ONE_TO_ONE
# relationship with Bo.
REJECTED = {
    "entity_version_overlap": _VERSION.format(asset=ANN, since="'2026-02-01'", until="'2026-03-01'", created="'2026-01-01'"),
    "entity_version_current": _VERSION.format(asset=ANN, since="'2026-02-01'", until="'infinity'", created="'2026-01-01'"),
    "entity_version_pkey": _VERSION.format(asset=ANN, since="'2026-01-01'", until="'2026-03-01'", created="'2026-01-01'"),
    "entity_version_validity": _VERSION.format(asset=ANN, since="'2025-02-01'", until="'2025-02-01'", created="'2025-01-01'"),
    "entity_version_created": _VERSION.format(asset=ANN, since="'2025-02-01'", until="'2025-03-01'", created="'2026-01-01'"),
    "entity_version_asset": _VERSION.format(asset="99", since="'2025-02-01'", until="'2025-03-01'", created="'2025-01-01'"),
    "entity_detail_overlap": _DETAIL.format(asset=ANN, type="'note'", since="'2026-02-01'", until="'infinity'"),
    "entity_detail_validity": _DETAIL.format(asset=ANN, type="'note'", since="'2025-02-01'", until="'2025-01-01'"),
    "entity_detail_type": _DETAIL.format(asset=ANN, type="'none'", since="'2026-02-01'", until="'infinity'"),
    "entity_detail_asset": _DETAIL.format(asset="99", type="'note'", since="'2026-02-01'", until="'infinity'"),
    "asset_lifetime_validity": f"INSERT INTO asset_lifetime VALUES (1, {ANN}, '2025-02-01', '2025-02-01')",
    "asset_lifetime_current": f"INSERT INTO asset_lifetime VALUES (1, {ANN}, '2026-02-01', 'infinity')",
    "asset_lifetime_asset": "INSERT INTO asset_lifetime VALUES (1, 99, '2026-02-01', 'infinity')",
    "lineage_link_taken": _LINK.format(source="source_id", producer="NULL"),
    "lineage_link_elsewhere": _LINK.format(source="target_id", producer="NULL"),
    "lineage_link_producer_given": _LINK.format(source="source_id", producer="''"),
    "lineage_link_source": _LINK.format(source="99", producer="NULL"),
    "lineage_link_version_type": _LINK_VERSION.format(type="'SOME'", confidence="1"),
    "lineage_link_version_confidence": _LINK_VERSION.format(type="'DIRECT'", confidence="'NaN'"),
    "lineage_link_effective_overlap": _EFFECTIVE_LINK.format(since="'2026-02-01'", until="'2026-03-01'"),
    "lineage_link_effective_current": _EFFECTIVE_LINK.format(since="'2026-02-01'", until="'infinity'"),
    "lineage_link_effective_pkey": _EFFECTIVE_LINK.format(since="'2026-01-01'", until="'2026-03-01'"),
    "lineage_link_effective_validity": _EFFECTIVE_LINK.format(since="'2025-03-01'", until="'2025-03-01'"),
    "relationship_type_taken": type_row(key="guides"),
    "relationship_type_origin": type_row(origin="GHOST"),
    "relationship_type_related": type_row(related="GHOST"),
    "relationship_type_key_given": type_row(key=""),
    "relationship_type_cardinality": type_row(cardinality="MANY"),
    "relationship_type_on_delete": type_row(on_delete="FORGET"),
    "relationship_type_mutual": type_row(related="PERSON", reverse_key="serves"),
    "relationship_type_tenant": type_row().replace("VALUES (1,", "VALUES (99,").replace("'PERSON'", "'PRODUCT'"),
    "relationship_key_pkey": "INSERT INTO relationship_key SELECT tenant_id, near, key, far, type_id FROM relationship_key",
    "relationship_key_type": "INSERT INTO relationship_key VALUES (1, 'PERSON', 'x', 'PERSON', 99)",
    "relationship_uid_taken": relationship_row(uid="uid"),
    "relationship_taken": relationship_row(origin="origin_id", related="related_id"),
    "relationship_type": relationship_row().replace("SELECT 1, gen_random_uuid(), type_id", "SELECT 1, gen_random_uuid(), 99"),
    "relationship_origin": relationship_row(origin=DI),
    "relationship_related": relationship_row(related=DI),
    "relationship_elsewhere": relationship_row(origin="related_id", related="related_id"),
    "relationship_version_pkey": period_row(_RELATIONSHIP_VERSION, since="'2026-01-01'", until="'2026-03-01'"),
    "relationship_version_current": period_row(_RELATIONSHIP_VERSION, since="'2026-02-01'", until="'infinity'"),
    "relationship_version_validity": period_row(_RELATIONSHIP_VERSION, until="'2025-02-01'"),
    "relationship_version_created": period_row(_RELATIONSHIP_VERSION, created="'2026-01-01'"),
    "relationship_version_relationship": period_row(_RELATIONSHIP_VERSION, relationship="99"),
    "relationship_effective_pkey": period_row(
        _EFFECTIVE_RELATIONSHIP, since="'2026-01-01'", until="'2026-03-01'", origin=CY, related=CY
    ),
    "relationship_effective_current": period_row(
        _EFFECTIVE_RELATIONSHIP, since="'2026-02-01'", until="'infinity'", origin=CY, related=CY
    ),
    "relationship_effective_overlap": period_row(
        _EFFECTIVE_RELATIONSHIP, since="'2026-02-01'", until="'2026-03-01'", origin=CY, related=CY
    ),
    "relationship_effective_validity": period_row(_EFFECTIVE_RELATIONSHIP, until="'2025-02-01'"),
    "relationship_effective_relationship": period_row(_EFFECTIVE_RELATIONSHIP, relationship="99"),
    "relationship_effective_one_origin": _RIVAL.format(origin=CY, related=BO),
    "relationship_effective_one_related": _RIVAL.format(origin=ANN, related=CY),
    "asset_uid_taken": "INSERT INTO asset (tenant_id, uid, kind) SELECT 1, uid, 'PRODUCT' FROM asset",
    "entity_key_taken": "INSERT INTO entity_key SELECT 1, 2, type, compared, '2026-02-01', '2026-03-01' FROM entity_key"
    " WHERE compared = '7'",
    "entity_key_pkey": "INSERT INTO entity_key SELECT 1, asset_id, 'x', compared, valid_from, valid_to FROM entity_key",
    "entity_key_asset": "INSERT INTO entity_key VALUES (1, 99, 'PERSON', 'x', '2026-02-01', '2026-03-01')",
    "entity_key_validity": "INSERT INTO entity_key VALUES (1, 2, 'PERSON', 'x', '2026-02-01', '2026-02-01')",
    "entity_version_keys": "UPDATE entity_version SET keys = array_fill(CAST('x' AS text), ARRAY[21])",
    "asset_typed": "INSERT INTO asset (tenant_id, uid, kind) VALUES (1, gen_random_uuid(), 'ENTITY')",
    "asset_type": "INSERT INTO asset (tenant_id, uid, kind, type) VALUES (1, gen_random_uuid(), 'ENTITY', 'NONE')",
    "asset_kind": "INSERT INTO asset (tenant_id, uid, kind) VALUES (1, gen_random_uuid(), 'GHOST')",
    "detail_type_format": "INSERT INTO detail_type (tenant_id, code, label, format) VALUES (1, 'x', 'x', 'colour')",
    "entity_type_domain": "INSERT INTO entity_type (tenant_id, code, label, domain) VALUES (1, 'x', 'x', 'nowhere')",
}
_OTHER_TENANT = """
    INSERT INTO tenant (name) VALUES ('other');
    INSERT INTO entity_type (tenant_id, code, label) VALUES (2, 'PERSON', 'Person');
    INSERT INTO asset (tenant_id, uid, kind, type) VALUES (2, gen_random_uuid(), 'ENTITY', 'PERSON');
"""


@pytest.fixture
async def owner(database: Database, address: str, author: Author) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    async with database.transaction(1, author) as connection:
        await entity_type.put(connection, "PERSON", "Person")
        await detail_type.put(connection, "note", "Note")
        await entity.create(connection, IdentitySpec(type="PERSON", key="7"), "Ann", {"note": "x"}, at=day(0))
        await entity.create(connection, IdentitySpec(type="PERSON", key="8"), "Bo", {}, at=day(0))
        await entity.create(connection, IdentitySpec(type="PERSON", key="9"), "Cy", {}, at=day(0))
        ann, bo = AssetRef(type="PERSON", key="7"), AssetRef(type="PERSON", key="8")
        await lineage_link.register(connection, ann, bo, None, {}, at=day(0))
        await relationship_type.put(
            connection, key="guides", reverse_key="guided_by", origin="PERSON", related="ENTITY", cardinality="ONE_TO_ONE"
        )
        await relationship.relate(connection, relationship.RelationshipState("guides", ann, bo, {"attributes": {}}, day(0)))
    owner = await asyncpg.connect(address)
    await owner.execute(_OTHER_TENANT)
    yield owner
    await owner.close()


@pytest.mark.parametrize("constraint", REJECTED)
async def test_an_invalid_row_violates_a_constraint(owner: "asyncpg.Connection[asyncpg.Record]", constraint: str) -> None:
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as raised:
        await owner.execute(REJECTED[constraint])
    # if a row violates several of these, PostgreSQL chooses which one it reports
    table, _, suffix = constraint.rpartition("_")
    overlaps = {"current", "overlap", "pkey"}
    assert raised.value.constraint_name in ({f"{table}_{it}" for it in overlaps} if suffix in overlaps else {constraint})

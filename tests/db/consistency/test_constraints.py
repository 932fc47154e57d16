"""What PostgreSQL itself refuses, whoever writes: the backstop behind everything else."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from db.assets import entity
from db.assets.asset import IdentitySpec
from db.associations import lineage_link, relationship
from db.associations.association import AssetRef
from db.author import Author
from db.database import Database
from db.registries import detail_type, entity_type, relationship_type
from tests.builders import day

pytestmark = pytest.mark.constraints

_VERSION = (
    "INSERT INTO entity_version (tenant_id, asset_id, valid_from, valid_to, created_at, display_name, details, digest)"
    " VALUES (1, {asset}, {since}, {until}, {created}, 'x', '{{}}', gen_random_uuid())"
)
_DETAIL = (
    "INSERT INTO entity_detail (tenant_id, asset_id, detail_type, valid_from, valid_to, value)"
    " VALUES (1, {asset}, {type}, {since}, {until}, 'x')"
)
_LINK = (
    "INSERT INTO lineage_link_version (tenant_id, link_id, valid_from, valid_to, created_at, type, confidence, metadata, digest)"
    " SELECT 1, id, '2025-01-01', '2025-02-01', '2025-01-01', {type}, {confidence}, '{{}}', gen_random_uuid() FROM lineage_link"
)
_HELD = (
    "INSERT INTO lineage_link_effective (tenant_id, link_id, valid_from, valid_to, source_id, target_id, type, confidence, metadata,"
    " digest) SELECT 1, id, {since}, {until}, source_id, target_id, 'DIRECT', 1, '{{}}', gen_random_uuid() FROM lineage_link"
)
_IDENTITY = (
    "INSERT INTO lineage_link (tenant_id, uid, source_id, target_id, producer)"
    " SELECT 1, gen_random_uuid(), {source}, target_id, {producer} FROM lineage_link"
)
_TYPE = (
    "INSERT INTO relationship_type (tenant_id, origin, key, related, reverse_key, cardinality, on_delete)"
    " VALUES (1, {origin}, {key}, {related}, {reverse_key}, {cardinality}, {on_delete})"
)
_RELATION = (
    "INSERT INTO relationship (tenant_id, uid, type_id, origin_id, related_id, one_origin, one_related)"
    " SELECT {tenant}, {uid}, type_id, {origin}, {related}, one_origin, one_related FROM relationship"
)
_ASSERTED = (
    "INSERT INTO relationship_version (tenant_id, relationship_id, valid_from, valid_to, created_at, attributes, digest)"
    " SELECT 1, {relation}, {since}, {until}, {created}, '{{}}', gen_random_uuid() FROM relationship"
)
_JOINED = (
    "INSERT INTO relationship_effective (tenant_id, relationship_id, valid_from, valid_to, type_id, origin_id, related_id, one_origin,"
    " one_related, attributes, digest) SELECT 1, {relation}, {since}, {until}, type_id, {origin}, {related}, one_origin,"
    " one_related, '{{}}', gen_random_uuid() FROM relationship"
)
# another join of the type, of which one may be beside Ann's with Bo only if it shares neither end
_BESIDE = (
    "WITH another AS (INSERT INTO relationship (tenant_id, uid, type_id, origin_id, related_id, one_origin, one_related)"
    " SELECT 1, gen_random_uuid(), type_id, {origin}, {related}, one_origin, one_related FROM relationship RETURNING *)"
    " INSERT INTO relationship_effective SELECT 1, id, '2026-02-01', 'infinity', type_id, origin_id, related_id, one_origin, one_related,"
    " '{{}}', gen_random_uuid() FROM another"
)


def of_type(**changes: str) -> str:
    given = {"origin": "PERSON", "key": "serves", "related": "ENTITY", "reverse_key": "served_by"}
    given |= {"cardinality": "ONE_TO_ONE", "on_delete": "CLOSE", **changes}
    return _TYPE.format(**{name: f"'{value}'" for name, value in given.items()})


def of_relation(**changes: str) -> str:
    given = {"tenant": "1", "uid": "gen_random_uuid()", "origin": "related_id", "related": "origin_id"}
    return _RELATION.format(**{**given, **changes})


def of_join(template: str, **changes: str) -> str:
    given = {"relation": "id", "since": "'2025-02-01'", "until": "'2025-03-01'", "created": "'2025-01-01'"}
    return template.format(**{**given, "origin": "origin_id", "related": "related_id", **changes})


BO = "(SELECT id FROM asset WHERE key = '8')"
CY = "(SELECT id FROM asset WHERE key = '9')"
# another tenant's
DI = "(SELECT id FROM asset WHERE key = '10')"
ANN = "(SELECT id FROM asset WHERE key = '7')"

# Ann has lived since January 1st, with a note, and has fed Bo since then; and is Bo's only guide, as Bo is Ann's only guest.
REFUSED = {
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
    "lineage_link_taken": _IDENTITY.format(source="source_id", producer="NULL"),
    "lineage_link_elsewhere": _IDENTITY.format(source="target_id", producer="NULL"),
    "lineage_link_producer_given": _IDENTITY.format(source="source_id", producer="''"),
    "lineage_link_source": _IDENTITY.format(source="99", producer="NULL"),
    "lineage_link_version_type": _LINK.format(type="'SOME'", confidence="1"),
    "lineage_link_version_confidence": _LINK.format(type="'DIRECT'", confidence="'NaN'"),
    "lineage_link_effective_overlap": _HELD.format(since="'2026-02-01'", until="'2026-03-01'"),
    "lineage_link_effective_current": _HELD.format(since="'2026-02-01'", until="'infinity'"),
    "lineage_link_effective_pkey": _HELD.format(since="'2026-01-01'", until="'2026-03-01'"),
    "lineage_link_effective_validity": _HELD.format(since="'2025-03-01'", until="'2025-03-01'"),
    "relationship_type_taken": of_type(key="guides"),
    "relationship_type_origin": of_type(origin="GHOST"),
    "relationship_type_related": of_type(related="GHOST"),
    "relationship_type_key_given": of_type(key=""),
    "relationship_type_cardinality": of_type(cardinality="MANY"),
    "relationship_type_on_delete": of_type(on_delete="FORGET"),
    "relationship_type_mutual": of_type(related="PERSON", reverse_key="serves"),
    "relationship_type_tenant": of_type().replace("VALUES (1,", "VALUES (99,").replace("'PERSON'", "'PRODUCT'"),
    "relationship_key_pkey": "INSERT INTO relationship_key SELECT tenant_id, near, key, far, type_id FROM relationship_key",
    "relationship_key_type": "INSERT INTO relationship_key VALUES (1, 'PERSON', 'x', 'PERSON', 99)",
    "relationship_uid_taken": of_relation(uid="uid"),
    "relationship_taken": of_relation(origin="origin_id", related="related_id"),
    "relationship_type": of_relation().replace("SELECT 1, gen_random_uuid(), type_id", "SELECT 1, gen_random_uuid(), 99"),
    "relationship_origin": of_relation(origin=DI),
    "relationship_related": of_relation(related=DI),
    "relationship_elsewhere": of_relation(origin="related_id", related="related_id"),
    "relationship_version_pkey": of_join(_ASSERTED, since="'2026-01-01'", until="'2026-03-01'"),
    "relationship_version_current": of_join(_ASSERTED, since="'2026-02-01'", until="'infinity'"),
    "relationship_version_validity": of_join(_ASSERTED, until="'2025-02-01'"),
    "relationship_version_created": of_join(_ASSERTED, created="'2026-01-01'"),
    "relationship_version_relationship": of_join(_ASSERTED, relation="99"),
    "relationship_effective_pkey": of_join(_JOINED, since="'2026-01-01'", until="'2026-03-01'", origin=CY, related=CY),
    "relationship_effective_current": of_join(_JOINED, since="'2026-02-01'", until="'infinity'", origin=CY, related=CY),
    "relationship_effective_overlap": of_join(_JOINED, since="'2026-02-01'", until="'2026-03-01'", origin=CY, related=CY),
    "relationship_effective_validity": of_join(_JOINED, until="'2025-02-01'"),
    "relationship_effective_relationship": of_join(_JOINED, relation="99"),
    "relationship_effective_one_origin": _BESIDE.format(origin=CY, related=BO),
    "relationship_effective_one_related": _BESIDE.format(origin=ANN, related=CY),
    "asset_uid_taken": "INSERT INTO asset (tenant_id, uid, kind) SELECT 1, uid, 'PRODUCT' FROM asset",
    "asset_key_taken": "INSERT INTO asset (tenant_id, uid, kind, type, key) "
    "SELECT 1, gen_random_uuid(), kind, type, key FROM asset",
    "asset_typed": "INSERT INTO asset (tenant_id, uid, kind) VALUES (1, gen_random_uuid(), 'ENTITY')",
    "asset_key_typed": "INSERT INTO asset (tenant_id, uid, kind, key) VALUES (1, gen_random_uuid(), 'PRODUCT', '7')",
    "asset_type": "INSERT INTO asset (tenant_id, uid, kind, type) VALUES (1, gen_random_uuid(), 'ENTITY', 'NONE')",
    "asset_kind": "INSERT INTO asset (tenant_id, uid, kind) VALUES (1, gen_random_uuid(), 'GHOST')",
    "detail_type_format": "INSERT INTO detail_type (tenant_id, code, label, format) VALUES (1, 'x', 'x', 'colour')",
    "entity_type_domain": "INSERT INTO entity_type (tenant_id, code, label, domain) VALUES (1, 'x', 'x', 'nowhere')",
}
_OTHER = """
    INSERT INTO tenant (name) VALUES ('other');
    INSERT INTO entity_type (tenant_id, code, label) VALUES (2, 'PERSON', 'Person');
    INSERT INTO asset (tenant_id, uid, kind, type, key) VALUES (2, gen_random_uuid(), 'ENTITY', 'PERSON', '10');
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
    await owner.execute(_OTHER)
    yield owner
    await owner.close()


@pytest.mark.parametrize("constraint", REFUSED)
async def test_a_row_that_cannot_be_is_refused(owner: "asyncpg.Connection[asyncpg.Record]", constraint: str) -> None:
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refused:
        await owner.execute(REFUSED[constraint])
    # of two that forbid the same, which one speaks first is PostgreSQL's choice
    table, _, said = constraint.rpartition("_")
    alike = {"current", "overlap", "pkey"}
    assert refused.value.constraint_name in ({f"{table}_{it}" for it in alike} if said in alike else {constraint})

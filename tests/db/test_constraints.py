"""What PostgreSQL itself refuses, whoever writes: the backstop behind everything else."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from db import detail_type, entity, entity_type, link
from db.asset import Ref
from db.bond import End
from db.connection import Author, Database
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
    "INSERT INTO link_version (tenant_id, link_id, valid_from, valid_to, created_at, type, confidence, metadata, digest)"
    " SELECT 1, id, '2025-01-01', '2025-02-01', '2025-01-01', {type}, {confidence}, '{{}}', gen_random_uuid() FROM link"
)
_HELD = (
    "INSERT INTO lineage_link (tenant_id, link_id, valid_from, valid_to, source_id, target_id, type, confidence, metadata,"
    " digest) SELECT 1, id, {since}, {until}, source_id, target_id, 'DIRECT', 1, '{{}}', gen_random_uuid() FROM link"
)
_IDENTITY = (
    "INSERT INTO link (tenant_id, uid, source_id, target_id, producer)"
    " SELECT 1, gen_random_uuid(), {source}, target_id, {producer} FROM link"
)
ANN = "(SELECT id FROM asset WHERE key = '7')"

# Ann has lived since January 1st, with a note, and has fed Bo since then.
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
    "asset_life_validity": f"INSERT INTO asset_life VALUES (1, {ANN}, '2025-02-01', '2025-02-01')",
    "asset_life_current": f"INSERT INTO asset_life VALUES (1, {ANN}, '2026-02-01', 'infinity')",
    "asset_life_asset": "INSERT INTO asset_life VALUES (1, 99, '2026-02-01', 'infinity')",
    "link_taken": _IDENTITY.format(source="source_id", producer="NULL"),
    "link_elsewhere": _IDENTITY.format(source="target_id", producer="NULL"),
    "link_producer_given": _IDENTITY.format(source="source_id", producer="''"),
    "link_source": _IDENTITY.format(source="99", producer="NULL"),
    "link_version_type": _LINK.format(type="'SOME'", confidence="1"),
    "link_version_confidence": _LINK.format(type="'DIRECT'", confidence="'NaN'"),
    "lineage_link_overlap": _HELD.format(since="'2026-02-01'", until="'2026-03-01'"),
    "lineage_link_current": _HELD.format(since="'2026-02-01'", until="'infinity'"),
    "lineage_link_pkey": _HELD.format(since="'2026-01-01'", until="'2026-03-01'"),
    "lineage_link_validity": _HELD.format(since="'2025-03-01'", until="'2025-03-01'"),
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


@pytest.fixture
async def owner(database: Database, address: str, author: Author) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    async with database.transaction(1, author) as connection:
        await entity_type.put(connection, "PERSON", "Person")
        await detail_type.put(connection, "note", "Note")
        await entity.create(connection, Ref(type="PERSON", key="7"), "Ann", {"note": "x"}, at=day(0))
        await entity.create(connection, Ref(type="PERSON", key="8"), "Bo", {}, at=day(0))
        ann, bo = End(type="PERSON", key="7"), End(type="PERSON", key="8")
        await link.register(connection, ann, bo, None, {}, at=day(0))
    owner = await asyncpg.connect(address)
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

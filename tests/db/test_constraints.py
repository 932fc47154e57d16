"""What PostgreSQL itself refuses, whoever writes: the backstop behind everything else."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from db import detail_type, entity, entity_type
from db.asset import Ref
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
ANN = "(SELECT id FROM asset)"

# Ann has lived since January 1st, with a note.
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
    owner = await asyncpg.connect(address)
    yield owner
    await owner.close()


@pytest.mark.parametrize("constraint", REFUSED)
async def test_a_row_that_cannot_be_is_refused(owner: "asyncpg.Connection[asyncpg.Record]", constraint: str) -> None:
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refused:
        await owner.execute(REFUSED[constraint])
    # of two that forbid the same, which one speaks first is PostgreSQL's choice
    alike = {"entity_version_current", "entity_version_overlap", "entity_version_pkey"}
    assert refused.value.constraint_name in (alike if constraint in alike else {constraint})

"""Tests that an upgraded database has the same catalog as a fresh one, keeps its data, and can be written.

catalog.txt beside this module is a snapshot of the catalog, the same on every version of PostgreSQL that is supported. After
an intended change, write it anew: `WRITE_CATALOG=1 .venv/bin/pytest tests/db/migrations/test_catalog.py -k snapshot`.
"""

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from db import migrations
from db.assets import asset, entity, product
from db.assets.asset import IdentitySpec
from db.assets.reference import AssetRef
from db.associations import lineage_link, reference, relationship
from db.author import Author
from db.connection import ReadConnection
from db.database import Database
from db.errors import Conflict
from db.pagination import Page
from db.registries import entity_type
from db.registries.detail_type import DETAIL_TYPES
from db.registries.entity_type import ENTITY_TYPES
from db.registries.registry import record_of
from db.registries.relationship_type import all_relationship_types
from db.revision import latest_revision, revision_of
from db.temporal.history import histories
from db.temporal.kinds import ASSET_KINDS, ASSOCIATION_KINDS, KINDS, PRODUCT
from db.temporal.verification import verify_tenant
from db.tenancy.idempotency import IdempotencyKey, run_once
from tests.builders import day, product_fields

# The revision before the tables were renamed.
BEFORE_RENAMES = "0006"
# The revision before keys were compared.
BEFORE_KEYS = "0016"

RAW, CLEAN, DELETED, ANN, NEW, BO = (UUID(int=number) for number in range(1, 7))
LINK_UID = reference.link_uid(RAW, CLEAN, None)
KEY = IdempotencyKey("key", UUID(int=9))

# Raw and a product that was deleted later feed clean, which has two versions; Ann owns raw.
DATA = f"""
INSERT INTO domain (tenant_id, name) VALUES (1, 'sales');
INSERT INTO entity_type (tenant_id, code, label) VALUES (1, 'PERSON', 'Person');
INSERT INTO detail_type (tenant_id, code, label, format) VALUES (1, 'height', 'Height', 'number');
INSERT INTO relationship_type (tenant_id, origin, key, related, reverse_key, cardinality, on_delete)
VALUES (1, 'PRODUCT', 'owner', 'PERSON', 'owns', 'MANY_TO_ONE', 'CLOSE');
INSERT INTO relationship_key (tenant_id, near, key, far, type_id)
SELECT 1, keys.near, keys.key, keys.far, t.id
FROM relationship_type t, (VALUES ('PRODUCT', 'owner', 'PERSON'), ('PERSON', 'owns', 'PRODUCT')) AS keys (near, key, far);

INSERT INTO asset (tenant_id, uid, kind, type, key) VALUES
  (1, '{RAW}', 'PRODUCT', NULL, NULL), (1, '{CLEAN}', 'PRODUCT', NULL, NULL),
  (1, '{DELETED}', 'PRODUCT', NULL, NULL), (1, '{ANN}', 'ENTITY', 'PERSON', 'ann');
INSERT INTO product_version (tenant_id, asset_id, valid_from, valid_to, created_at, name, domain, owner, schema, status, version,
  tags, digest)
SELECT 1, a.id, since, until, '2026-01-01Z', name, 'sales', 'ann', '{{"columns": []}}', 'ACTIVE', '1.0.0', '{{a,b}}',
  gen_random_uuid()
FROM (VALUES
  (CAST('{RAW}' AS uuid), timestamptz '2026-01-01Z', timestamptz 'infinity', 'raw'),
  ('{CLEAN}', '2026-01-01Z', '2026-01-03Z', 'clean'),
  ('{CLEAN}', '2026-01-03Z', 'infinity', 'cleaned'),
  ('{DELETED}', '2026-01-01Z', '2026-01-04Z', 'deleted')
) AS versions (uid, since, until, name)
JOIN asset a USING (uid);
INSERT INTO entity_version (tenant_id, asset_id, valid_from, created_at, display_name, details, digest)
SELECT 1, id, '2026-01-01Z', '2026-01-01Z', 'Ann', '{{"height": "1.80"}}', gen_random_uuid() FROM asset WHERE uid = '{ANN}';
INSERT INTO entity_detail (tenant_id, asset_id, detail_type, valid_from, valid_to, value, number)
SELECT 1, id, 'height', '2026-01-01Z', 'infinity', '1.80', 1.8 FROM asset WHERE uid = '{ANN}';
INSERT INTO asset_life (tenant_id, asset_id, valid_from, valid_to)
SELECT tenant_id, asset_id, min(valid_from), max(valid_to)
FROM (
  SELECT tenant_id, asset_id, valid_from, valid_to FROM product_version
  UNION ALL
  SELECT tenant_id, asset_id, valid_from, valid_to FROM entity_version
) versions
GROUP BY tenant_id, asset_id;

INSERT INTO link (tenant_id, uid, source_id, target_id)
SELECT 1, links.uid, s.id, t.id
FROM (VALUES (CAST('{LINK_UID}' AS uuid), CAST('{RAW}' AS uuid)), (gen_random_uuid(), '{DELETED}')) AS links (uid, source)
JOIN asset s ON s.uid = source
JOIN asset t ON t.uid = '{CLEAN}';
INSERT INTO link_version (tenant_id, link_id, valid_from, created_at, type, confidence, metadata, digest)
SELECT 1, id, '2026-01-02Z', '2026-01-02Z', 'DIRECT', 0.5, '{{}}', gen_random_uuid() FROM link;
INSERT INTO relation (tenant_id, uid, type_id, origin_id, related_id, one_origin, one_related)
SELECT 1, gen_random_uuid(), t.id, o.id, r.id, t.one_origin, t.one_related
FROM relationship_type t
JOIN asset o ON o.uid = '{RAW}'
JOIN asset r ON r.uid = '{ANN}';
INSERT INTO relation_version (tenant_id, relation_id, valid_from, created_at, attributes, digest)
SELECT 1, id, '2026-01-02Z', '2026-01-02Z', '{{"since": 2026}}', gen_random_uuid() FROM relation;

INSERT INTO request (tenant_id, key, digest, subject_id, change_ts, changed)
SELECT 1, '{KEY.key}', '{KEY.digest}', id, '2026-01-01Z', true FROM asset WHERE uid = '{RAW}';
INSERT INTO audit (tenant_id, at, actor, credential, operator, operation, outcome)
VALUES (1, now(), 'ann', 'none', false, 'write', 'KEPT');
INSERT INTO quota (tenant_id, kind, used) VALUES (1, 'PRODUCT', 3), (1, 'ENTITY', 1), (1, 'LINK', 2), (1, 'RELATIONSHIP', 1);
"""

# Rows that follow from the versions: digests, changes, and the effective rows of associations.
VERSION_TABLES = {
    "PRODUCT": "product_version",
    "ENTITY": "entity_version",
    "LINK": "link_version",
    "RELATIONSHIP": "relation_version",
}
SUBJECTS = {"PRODUCT": "asset_id", "ENTITY": "asset_id", "LINK": "link_id", "RELATIONSHIP": "relation_id"}
# Payload of a version `v`: the fields that its table has in that release.
PAYLOAD = "(to_jsonb(v) - '{tenant_id,asset_id,link_id,relation_id,valid_from,valid_to,created_at,digest,search_text}'::text[])"
DERIVED = [
    *(
        f"""
        UPDATE {VERSION_TABLES[kind.name]} v SET digest = CAST(md5(CAST({PAYLOAD} AS text)) AS uuid);
        INSERT INTO change (tenant_id, kind, subject_id, operation, change_ts, payload, changed, recorded_at, actor, request_id)
        SELECT 1, '{kind.name}', v.{SUBJECTS[kind.name]}, 'SET', v.valid_from, {PAYLOAD}, true, now(), 'ann', 'r-1'
        FROM {VERSION_TABLES[kind.name]} v
        ORDER BY v.valid_from;
        """
        for kind in KINDS
    ),
    f"""
    INSERT INTO change (tenant_id, kind, subject_id, operation, change_ts, changed, recorded_at, actor)
    SELECT 1, 'PRODUCT', id, 'DELETE', '2026-01-04Z', true, now(), 'ann' FROM asset WHERE uid = '{DELETED}';
    INSERT INTO lineage_link
    SELECT 1, i.id, v.valid_from, least(v.valid_to, s.valid_to), i.source_id, i.target_id, i.producer, v.type, v.transformation,
      v.confidence, v.metadata, v.digest
    FROM link i
    JOIN link_version v ON v.link_id = i.id
    JOIN asset_life s ON s.asset_id = i.source_id;
    INSERT INTO relationship
    SELECT 1, i.id, v.valid_from, v.valid_to, i.type_id, i.origin_id, i.related_id, i.one_origin, i.one_related, v.attributes,
      v.digest
    FROM relation i
    JOIN relation_version v ON v.relation_id = i.id;
    """,
]

# Queries of the catalog. Each returns rows that identify an object and define it, without object ids.
CATALOG = {
    "tables": """
        SELECT relname, relkind, relpersistence, relrowsecurity, relforcerowsecurity, CAST(relowner AS regrole)
        FROM pg_class WHERE relnamespace = CAST('public' AS regnamespace) AND relkind IN ('r', 'p', 'v', 'm', 'S', 'i')
    """,
    "columns": """
        SELECT c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated,
          pg_get_expr(d.adbin, d.adrelid), a.attcollation, a.attoptions
        FROM pg_attribute a
        JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'r' AND c.relnamespace = CAST('public' AS regnamespace)
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attnum > 0 AND NOT a.attisdropped
    """,
    "constraints": """
        SELECT c.relname, o.conname, pg_get_constraintdef(o.oid), o.condeferrable, o.condeferred, o.convalidated
        FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid WHERE c.relnamespace = CAST('public' AS regnamespace)
    """,
    "indexes": """
        SELECT c.relname, n.relname, pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisunique
        FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_class n ON n.oid = i.indexrelid
        WHERE c.relnamespace = CAST('public' AS regnamespace)
    """,
    "sequences": """
        SELECT c.relname, s.relname, a.attname, d.deptype, p.data_type, p.start_value, p.min_value, p.max_value, p.increment_by,
          p.cycle
        FROM pg_class s
        JOIN pg_sequences p ON p.schemaname = 'public' AND p.sequencename = s.relname
        JOIN pg_depend d ON d.objid = s.oid AND d.refobjsubid > 0
        JOIN pg_class c ON c.oid = d.refobjid
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid
        WHERE s.relkind = 'S' AND s.relnamespace = CAST('public' AS regnamespace)
    """,
    "policies": """
        SELECT tablename, policyname, permissive, roles, cmd, qual, with_check FROM pg_policies WHERE schemaname = 'public'
    """,
    "grants": """
        SELECT c.relname, NULL, CAST(g.grantee AS regrole), g.privilege_type, g.is_grantable
        FROM pg_class c, aclexplode(c.relacl) g WHERE c.relnamespace = CAST('public' AS regnamespace)
        UNION ALL
        SELECT c.relname, a.attname, CAST(g.grantee AS regrole), g.privilege_type, g.is_grantable
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid, aclexplode(a.attacl) g
        WHERE c.relnamespace = CAST('public' AS regnamespace)
    """,
    "functions": """
        SELECT p.proname, pg_get_function_identity_arguments(p.oid), p.prokind,
          CASE WHEN p.prokind = 'f' THEN pg_get_functiondef(p.oid) ELSE (
            SELECT CAST((g.aggtransfn, CAST(g.aggtranstype AS regtype), g.agginitval) AS text)
            FROM pg_aggregate g
            WHERE g.aggfnoid = p.oid
          ) END, ARRAY(SELECT CAST(x.grantee AS regrole) || ' ' || x.privilege_type FROM aclexplode(p.proacl) x ORDER BY 1)
        FROM pg_proc p
        WHERE p.pronamespace = CAST('public' AS regnamespace)
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
    """,
    "triggers": "SELECT CAST(tgrelid AS regclass), tgname FROM pg_trigger WHERE NOT tgisinternal",
    "types": """
        SELECT typname, typtype FROM pg_type t WHERE typnamespace = CAST('public' AS regnamespace)
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = t.oid AND d.deptype = 'e')
    """,
}

SNAPSHOT = Path(__file__).with_name("catalog.txt")
# Queries of lines of the snapshot. PostgreSQL 18 stores NOT NULL as constraints as well; columns say it on all versions.
SNAPSHOT_LINES = """
WITH relation AS (
  SELECT oid, relname AS name, relkind, relacl, relrowsecurity, relforcerowsecurity
  FROM pg_class
  WHERE relnamespace = CAST('public' AS regnamespace)
)
SELECT format('table %s%s%s', name, CASE WHEN relrowsecurity THEN ' row security' END,
  CASE WHEN relforcerowsecurity THEN ' forced' END)
FROM relation WHERE relkind IN ('r', 'p', 'v', 'm')
UNION ALL
SELECT format('column %s.%s %s%s%s%s', name, attname, format_type(atttypid, atttypmod),
  CASE WHEN attnotnull THEN ' NOT NULL' END, CASE attidentity WHEN 'a' THEN ' IDENTITY ALWAYS' WHEN 'd' THEN ' IDENTITY' END,
  CASE WHEN attgenerated <> '' THEN ' GENERATED ' WHEN adbin IS NOT NULL THEN ' DEFAULT ' END || pg_get_expr(adbin, adrelid))
FROM relation
JOIN pg_attribute ON attrelid = relation.oid
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE relkind = 'r' AND attnum > 0 AND NOT attisdropped
UNION ALL
SELECT format('constraint %s.%s %s', name, conname, pg_get_constraintdef(c.oid))
FROM relation JOIN pg_constraint c ON conrelid = relation.oid WHERE contype <> 'n'
UNION ALL
SELECT format('index %s', pg_get_indexdef(indexrelid)) FROM relation JOIN pg_index ON indrelid = relation.oid
UNION ALL
SELECT format('sequence %s %s from %s by %s', sequencename, data_type, start_value, increment_by)
FROM pg_sequences WHERE schemaname = 'public'
UNION ALL
SELECT format('policy %s.%s %s for %s to %s using %s check %s', tablename, policyname, permissive, cmd, roles, qual, with_check)
FROM pg_policies WHERE schemaname = 'public'
UNION ALL
SELECT format('grant %s %s', name, privilege_type)
FROM relation, aclexplode(relacl) WHERE grantee = CAST('headwater_service' AS regrole)
UNION ALL
SELECT format('grant %s.%s %s', name, attname, privilege_type)
FROM relation JOIN pg_attribute ON attrelid = relation.oid, aclexplode(attacl)
WHERE grantee = CAST('headwater_service' AS regrole)
UNION ALL
SELECT format('function %s(%s) %s', proname, pg_get_function_identity_arguments(p.oid), format_type(prorettype, NULL))
FROM pg_proc p
WHERE pronamespace = CAST('public' AS regnamespace)
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
"""

OLD_TABLES = ("link", "link_version", "relation", "relation_version", "asset_life", "request")
# Clients and the driver know these constraints by their names, which are older than the convention.
OTHER_NAMES = {"product_name_taken"}


async def read_catalog(address: str) -> dict[str, list[str]]:
    """Return the rows of each query of the catalog, as sorted text."""
    connection = await asyncpg.connect(address)
    try:
        return {name: sorted(str(tuple(row)) for row in await connection.fetch(query)) for name, query in CATALOG.items()}
    finally:
        await connection.close()


@pytest.fixture
async def upgraded(empty_address: str) -> str:
    """The address of a database that was filled at the revision before the renames, and upgraded since."""
    assert await migrations.upgrade(empty_address, to=BEFORE_RENAMES) == (None, BEFORE_RENAMES)
    connection = await asyncpg.connect(empty_address)
    try:
        for script in (DATA, *DERIVED):
            await connection.execute(script)
    finally:
        await connection.close()
    assert await migrations.upgrade(empty_address) == (BEFORE_RENAMES, latest_revision())
    return empty_address


@pytest.fixture
async def upgraded_database(upgraded: str) -> AsyncIterator[Database]:
    database = Database(upgraded)
    yield database
    await database.close()


async def test_upgraded_catalog_equals_a_fresh_one(upgraded: str, address: str) -> None:
    fresh = await read_catalog(address)
    assert await read_catalog(upgraded) == fresh
    assert not [name for name, rows in fresh.items() if not rows and name != "triggers"], "a query of the catalog selects nothing"


async def test_catalog_equals_its_snapshot(address: str) -> None:
    connection = await asyncpg.connect(address)
    try:
        lines = sorted(re.sub(r"\s+", " ", row[0]) for row in await connection.fetch(SNAPSHOT_LINES))
    finally:
        await connection.close()
    if os.environ.get("WRITE_CATALOG"):
        SNAPSHOT.write_text("".join(f"{line}\n" for line in lines))
    assert SNAPSHOT.read_text().splitlines() == lines


async def test_twins_of_a_key_stop_the_migration_and_are_listed(empty_address: str) -> None:
    """Two entities have one UUID in two spellings; two others had it one after the other, which is allowed."""
    await migrations.upgrade(empty_address, to=BEFORE_KEYS)
    key = UUID(int=2**100)
    twins = [(UUID(int=1), str(key).upper(), day(0), None), (UUID(int=2), key.hex, day(1), None)]
    heirs = [(UUID(int=3), key.hex, day(0), day(1)), (UUID(int=4), str(key), day(1), None)]
    owner = await asyncpg.connect(empty_address)
    try:
        for type_, entities in (("PERSON", twins), ("CUSTOMER", heirs)):
            await owner.execute("INSERT INTO entity_type (tenant_id, code, label) VALUES (1, $1, '')", type_)
            for uid, given, since, until in entities:
                await owner.execute(
                    "WITH added AS ("
                    "INSERT INTO asset (tenant_id, uid, kind, type, key) VALUES (1, $1, 'ENTITY', $2, $3) RETURNING id)"
                    " INSERT INTO asset_lifetime (tenant_id, asset_id, valid_from, valid_to)"
                    " SELECT 1, id, $4, coalesce($5::timestamptz, 'infinity') FROM added",
                    *(uid, type_, given, since, until),
                )
        with pytest.raises(Conflict) as error:
            await migrations.upgrade(empty_address)
        assert "1 pairs" in error.value.message
        assert f"PERSON {str(key).upper()!r} ({twins[0][0]}) and {key.hex!r} ({twins[1][0]})" in error.value.message
        assert "CUSTOMER" not in error.value.message
        assert await revision_of(empty_address) == BEFORE_KEYS
        # what the error recommends leaves no instant at which both exist
        await owner.execute("DELETE FROM asset_lifetime WHERE asset_id = (SELECT id FROM asset WHERE uid = $1)", twins[1][0])
        await migrations.upgrade(empty_address)
        compared = await owner.fetch("SELECT DISTINCT compared FROM entity_key")
        assert [row[0] for row in compared] == [str(key)]
    finally:
        await owner.close()


async def test_names_begin_with_the_name_of_their_table(upgraded: str) -> None:
    connection = await asyncpg.connect(upgraded)
    try:
        names = await connection.fetch(
            """
            SELECT c.relname AS table, o.conname AS name
            FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid WHERE c.relnamespace = CAST('public' AS regnamespace)
            UNION
            SELECT c.relname, n.relname
            FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_class n ON n.oid = i.indexrelid
            WHERE c.relnamespace = CAST('public' AS regnamespace)
            UNION
            SELECT c.relname, s.relname
            FROM pg_class s
            JOIN pg_depend d ON d.objid = s.oid AND d.refobjsubid > 0
            JOIN pg_class c ON c.oid = d.refobjid
            WHERE s.relkind = 'S' AND s.relnamespace = CAST('public' AS regnamespace)
            """
        )
        tables = {
            row["relname"]
            for row in await connection.fetch(
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = CAST('public' AS regnamespace)"
            )
        }
    finally:
        await connection.close()
    assert not tables & set(OLD_TABLES)
    old_prefix = re.compile(rf"({'|'.join(OLD_TABLES)})(_|$)")
    assert [row["name"] for row in names if old_prefix.match(row["name"])] == []
    others = {row["name"] for row in names if not row["name"].startswith(f"{row['table']}_")}
    assert others == OTHER_NAMES


async def test_upgraded_data_is_verified(upgraded_database: Database) -> None:
    async with upgraded_database.snapshot(1) as connection:
        report = await verify_tenant(connection)
        assert report.differences == []
        assert (report.changes, report.versions) == (9, 8)


async def test_upgraded_data_is_read(upgraded_database: Database) -> None:
    async with upgraded_database.snapshot(1) as connection:
        assert [await versions(connection, uid) for uid in (RAW, CLEAN, DELETED)] == [["raw"], ["clean", "cleaned"], ["deleted"]]
        for instant, links in ((day(1), 2), (day(9), 1)):
            assert await lineage_link.count_links(connection, lineage_link.LinkQuery(as_of=instant)) == links
        related = relationship.RelationshipQuery(origin=RAW, as_of=day(9))
        assert await relationship.count_relationships(connection, related) == 1


async def test_upgraded_types_have_no_record_until_they_change(upgraded_database: Database) -> None:
    async with upgraded_database.snapshot(1) as connection:
        types = (
            *await ENTITY_TYPES.all(connection),
            *await DETAIL_TYPES.all(connection),
            *(await all_relationship_types(connection)).rows,
        )
        assert [record_of(it) for it in types] == [{"created_at": None, "updated_at": None, "actor": None}] * 3
    async with upgraded_database.transaction(1, Author("bo")) as connection:
        for label, actor in (("Person", None), ("Somebody", "bo")):
            put = await entity_type.put(connection, "PERSON", label)
            assert (put.created_at, put.updated_at is None, put.actor) == (None, actor is None, actor)


async def versions(connection: ReadConnection, uid: UUID) -> list[str]:
    (identity,) = await asset.identities(connection, [uid])
    assert identity is not None
    (history,) = await histories(connection, [identity.asset_id], PRODUCT, Page(9))
    return [version.state["name"] for version in history.items]


async def test_upgraded_database_is_written(upgraded_database: Database) -> None:
    """Identity sequences continue, and the grants of the service apply to the renamed tables."""
    async with upgraded_database.transaction(1, Author("bo")) as connection:
        await product.register(connection, product_fields("new", domain="sales"), uid=NEW)
        await entity.create(connection, IdentitySpec(BO, "PERSON", "bo"), "Bo", {"height": "1.70"})
        await lineage_link.register(connection, AssetRef(uid=NEW), AssetRef(uid=CLEAN), "loader", {})
        owner = relationship.RelationshipState("owner", AssetRef(uid=NEW), AssetRef(uid=BO), {"attributes": {}})
        await relationship.relate(connection, owner)
    async with upgraded_database.transaction(1, Author("bo")) as connection:
        await product.update(connection, CLEAN, {"owner": "bo"}, at=day(1))
        await asset.delete(connection, PRODUCT, RAW)
        await lineage_link.remove(connection, LINK_UID, at=day(3))
    async with upgraded_database.snapshot(1) as connection:
        report = await verify_tenant(connection)
        assert report.differences == []
        for kind in (*ASSET_KINDS, *ASSOCIATION_KINDS):
            assert kind.identities.name not in OLD_TABLES


async def test_idempotency_key_is_still_known_after_the_upgrade(upgraded_database: Database) -> None:
    async def write() -> None:
        raise AssertionError("the request was answered before the upgrade")

    async with upgraded_database.transaction(1, Author("ann")) as connection:
        outcome = await run_once(connection, KEY, write)  # type: ignore[arg-type]
        assert (outcome.at, outcome.changed) == (day(0), True)
        with pytest.raises(Conflict, match="used for another write"):
            await run_once(connection, IdempotencyKey(KEY.key, UUID(int=10)), write)  # type: ignore[arg-type]

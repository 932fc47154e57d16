-- Fill a tenant whose types exist with products and entities of two versions, links and relationships, and their change log.
--
-- Names, uids and keys are those of tests/security/lookups.py. Every asset has an instant of its own, so that changes lie in a
-- row. One asset in a thousand ends, with its links and relationships; one link in ten has two versions.
-- Tokens: {tenant}, {products}, {entities}.
-- Used by: tests.bench.plans.fill.fill_tenants
SET LOCAL session_replication_role = replica;
-- the planner knows nothing of the tenant, and would loop over all of its rows for each
SET LOCAL enable_nestloop = off;

INSERT INTO domain (tenant_id, name) SELECT {tenant}, 'domain ' || n FROM generate_series(0, {products} / 30) n
ON CONFLICT DO NOTHING;

INSERT INTO asset (tenant_id, uid, kind)
SELECT {tenant}, CAST(lpad(to_hex(1000000 + n), 32, '0') AS uuid), 'PRODUCT' FROM generate_series(0, {products} - 1) n;
INSERT INTO asset (tenant_id, uid, kind, type)
SELECT {tenant}, gen_random_uuid(), 'ENTITY', 'TABLE' FROM generate_series(0, {entities} - 1) n;

CREATE TEMPORARY TABLE numbered ON COMMIT DROP AS
SELECT id, kind, row_number() OVER (PARTITION BY kind ORDER BY id) - 1 AS n,
  CAST('2026-01-01' AS timestamptz) + row_number() OVER (ORDER BY id) * interval '100 ms' AS since
FROM asset
WHERE tenant_id = {tenant};
ANALYZE numbered;
CREATE TEMPORARY TABLE period ON COMMIT DROP AS
SELECT a.*, version, a.since + version * interval '12 hours' AS valid_from, CASE
    WHEN version = 0 THEN a.since + interval '12 hours'
    WHEN a.n % 1000 = 999 THEN a.since + interval '30 hours'
    ELSE 'infinity'
  END AS valid_to, CAST(md5(a.id || '/' || version) AS uuid) AS digest
FROM numbered a, generate_series(0, 1) version;

INSERT INTO product_version (tenant_id, asset_id, valid_from, valid_to, created_at, name, domain, owner, description, schema,
  status, version, tags, digest)
SELECT {tenant}, id, valid_from, valid_to, since, 'p' || n, 'domain ' || n % ({products} / 30), 'owner ' || n % 50,
  'Daily text ' || md5(CAST(n AS text)), '{{}}', 'ACTIVE', '1.' || version || '.0', ARRAY['a', 'tag ' || n % 20], digest
FROM period
WHERE kind = 'PRODUCT';
INSERT INTO entity_version (tenant_id, asset_id, valid_from, valid_to, created_at, display_name, details, keys, digest)
SELECT {tenant}, id, valid_from, valid_to, since, 'entity ' || n, jsonb_build_object('note', 'value ' || n),
  ARRAY['k' || n, 'other-' || n], digest
FROM period
WHERE kind = 'ENTITY';
INSERT INTO asset_lifetime (tenant_id, asset_id, valid_from, valid_to)
SELECT {tenant}, id, since, max(valid_to) FROM period GROUP BY id, since;
INSERT INTO entity_key (tenant_id, asset_id, type, compared, valid_from, valid_to)
SELECT {tenant}, asset_id, 'TABLE', key, min(valid_from), max(valid_to)
FROM entity_version v, unnest(v.keys) key
WHERE tenant_id = {tenant}
GROUP BY asset_id, key;
INSERT INTO entity_detail (tenant_id, asset_id, detail_type, valid_from, valid_to, value)
SELECT {tenant}, asset_id, 'note', min(valid_from), max(valid_to), details ->> 'note'
FROM entity_version
WHERE tenant_id = {tenant}
GROUP BY asset_id, details ->> 'note';

-- Each product has two sources, by two producers.
INSERT INTO lineage_link (tenant_id, uid, source_id, target_id, producer)
SELECT {tenant}, gen_random_uuid(), source.id, target.id, CASE divisor WHEN 3 THEN 'dbt' END
FROM generate_series(2, 3) divisor, numbered source, numbered target
WHERE source.kind = 'PRODUCT' AND target.kind = 'PRODUCT' AND target.n >= 2 AND source.n = target.n / divisor;
INSERT INTO relationship (tenant_id, uid, type_id, origin_id, related_id, one_origin, one_related)
SELECT {tenant}, gen_random_uuid(), t.id, p.id, e.id, false, false
FROM relationship_type t, numbered p, numbered e
WHERE t.tenant_id = {tenant} AND p.kind = 'PRODUCT' AND e.kind = 'ENTITY' AND p.n = e.n;
-- Links and relationships begin a day after all assets, and end with the first of their ends.
CREATE TEMPORARY TABLE association ON COMMIT DROP AS
SELECT a.*, least(near.valid_to, far.valid_to) AS ends
FROM (
  SELECT 'LINK' AS kind, id, source_id AS near_id, target_id AS far_id, producer, CAST(NULL AS bigint) AS type_id,
    CAST('2026-01-02' AS timestamptz) + row_number() OVER (ORDER BY id) * interval '50 ms' AS since
  FROM lineage_link
  WHERE tenant_id = {tenant}
  UNION ALL
  SELECT 'RELATIONSHIP', id, origin_id, related_id, NULL, type_id,
    CAST('2026-01-02' AS timestamptz) + row_number() OVER (ORDER BY id) * interval '50 ms'
  FROM relationship
  WHERE tenant_id = {tenant}
) a
JOIN asset_lifetime near ON near.tenant_id = {tenant} AND near.asset_id = near_id
JOIN asset_lifetime far ON far.tenant_id = {tenant} AND far.asset_id = far_id
WHERE least(near.valid_to, far.valid_to) > a.since;
CREATE TEMPORARY TABLE association_period ON COMMIT DROP AS
SELECT a.*, version, since + version * interval '1 hour' AS valid_from,
  CASE WHEN version = 0 AND kind = 'LINK' AND id % 10 = 0 THEN since + interval '1 hour' ELSE 'infinity' END AS valid_to
FROM association a, generate_series(0, 1) version
WHERE (version = 0 OR kind = 'LINK' AND id % 10 = 0) AND a.ends > since + interval '1 hour';
INSERT INTO lineage_link_version (tenant_id, link_id, valid_from, valid_to, created_at, type, confidence, metadata, digest)
SELECT {tenant}, id, valid_from, valid_to, since, 'DIRECT', 1 - version * 0.5, '{{}}', CAST(md5(CAST(version AS text)) AS uuid)
FROM association_period
WHERE kind = 'LINK';
INSERT INTO lineage_link_effective (tenant_id, link_id, valid_from, valid_to, source_id, target_id, producer, type, confidence,
  metadata, digest)
SELECT {tenant}, id, valid_from, least(valid_to, ends), near_id, far_id, producer, 'DIRECT', 1 - version * 0.5, '{{}}',
  CAST(md5(CAST(version AS text)) AS uuid)
FROM association_period
WHERE kind = 'LINK';
INSERT INTO relationship_version (tenant_id, relationship_id, valid_from, valid_to, created_at, attributes, digest)
SELECT {tenant}, id, valid_from, valid_to, since, '{{}}', CAST(md5('') AS uuid) FROM association_period WHERE kind = 'RELATIONSHIP';
INSERT INTO relationship_effective (tenant_id, relationship_id, valid_from, valid_to, type_id, origin_id, related_id, one_origin,
  one_related, attributes, digest)
SELECT {tenant}, id, valid_from, least(valid_to, ends), type_id, near_id, far_id, false, false, '{{}}', CAST(md5('') AS uuid)
FROM association_period
WHERE kind = 'RELATIONSHIP';

INSERT INTO change (tenant_id, kind, subject_id, operation, change_ts, payload, changed, recorded_at, actor, request_id)
SELECT {tenant}, kind, id, operation, at, CASE operation WHEN 'SET' THEN CAST('{{}}' AS jsonb) END, true, at, 'loader', 'load'
FROM (
  SELECT kind, id, 'SET' AS operation, valid_from AS at FROM period
  UNION ALL
  SELECT kind, id, 'DELETE', valid_to FROM period WHERE valid_to = since + interval '30 hours'
  UNION ALL
  SELECT kind, id, 'SET', valid_from FROM association_period
) entry
ORDER BY at;

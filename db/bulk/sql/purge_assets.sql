-- Remove locked assets with their versions, details, keys, lifetimes and changes, and return how many assets and changes that
-- were. An asset that has associations left stays until these are removed.
-- Parameters: :kind, :assets the ids of locked assets of that kind.
-- Used by: db.bulk.purge._PurgeTransaction._remove
WITH unconnected AS MATERIALIZED (
  SELECT a.id
  FROM unnest(CAST(:assets AS bigint[])) AS a (id)
  WHERE NOT EXISTS (SELECT FROM lineage_link i WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.source_id = a.id OFFSET 0)
    AND NOT EXISTS (SELECT FROM lineage_link i WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.target_id = a.id OFFSET 0)
    AND NOT EXISTS (SELECT FROM relationship i WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.origin_id = a.id OFFSET 0)
    AND NOT EXISTS (SELECT FROM relationship i WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.related_id = a.id OFFSET 0)
),
lifetimes AS (
  DELETE FROM asset_lifetime
  WHERE tenant_id = CAST(:tenant AS bigint) AND asset_id = ANY (ARRAY(SELECT id FROM unconnected))
),
details AS (
  DELETE FROM entity_detail
  WHERE tenant_id = CAST(:tenant AS bigint) AND asset_id = ANY (ARRAY(SELECT id FROM unconnected))
),
keys AS (
  DELETE FROM entity_key
  WHERE tenant_id = CAST(:tenant AS bigint) AND asset_id = ANY (ARRAY(SELECT id FROM unconnected))
),
entity_versions AS (
  DELETE FROM entity_version
  WHERE tenant_id = CAST(:tenant AS bigint) AND asset_id = ANY (ARRAY(SELECT id FROM unconnected))
),
product_versions AS (
  DELETE FROM product_version
  WHERE tenant_id = CAST(:tenant AS bigint) AND asset_id = ANY (ARRAY(SELECT id FROM unconnected))
),
changes AS (
  DELETE FROM change
  WHERE tenant_id = CAST(:tenant AS bigint) AND kind = CAST(:kind AS text) AND subject_id = ANY (ARRAY(SELECT id FROM unconnected))
  RETURNING seq
),
assets AS (
  DELETE FROM asset
  WHERE tenant_id = CAST(:tenant AS bigint) AND id = ANY (ARRAY(SELECT id FROM unconnected))
  RETURNING id
)
SELECT (SELECT count(*) FROM assets) AS subjects, (SELECT count(*) FROM changes) AS changes

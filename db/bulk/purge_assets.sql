-- Removes assets that are locked, with all that was ever said of them: how many they were, and how much that was. One that has bonds
-- left waits for these to be removed.
WITH bare AS MATERIALIZED (
  SELECT a.id
  FROM unnest(CAST(:assets AS bigint[])) AS a (id)
  WHERE NOT EXISTS (SELECT FROM lineage_link i WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.source_id = a.id OFFSET 0)
    AND NOT EXISTS (SELECT FROM lineage_link i WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.target_id = a.id OFFSET 0)
    AND NOT EXISTS (SELECT FROM relationship i WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.origin_id = a.id OFFSET 0)
    AND NOT EXISTS (SELECT FROM relationship i WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.related_id = a.id OFFSET 0)
),
lives AS (
  DELETE FROM asset_lifetime
  WHERE tenant_id = CAST(:tenant AS bigint) AND asset_id = ANY (ARRAY(SELECT id FROM bare))
),
details AS (
  DELETE FROM entity_detail
  WHERE tenant_id = CAST(:tenant AS bigint) AND asset_id = ANY (ARRAY(SELECT id FROM bare))
),
entities AS (
  DELETE FROM entity_version
  WHERE tenant_id = CAST(:tenant AS bigint) AND asset_id = ANY (ARRAY(SELECT id FROM bare))
),
products AS (
  DELETE FROM product_version
  WHERE tenant_id = CAST(:tenant AS bigint) AND asset_id = ANY (ARRAY(SELECT id FROM bare))
),
said AS (
  DELETE FROM change
  WHERE tenant_id = CAST(:tenant AS bigint) AND kind = CAST(:kind AS text) AND subject_id = ANY (ARRAY(SELECT id FROM bare))
  RETURNING seq
),
gone AS (
  DELETE FROM asset
  WHERE tenant_id = CAST(:tenant AS bigint) AND id = ANY (ARRAY(SELECT id FROM bare))
  RETURNING id
)
SELECT (SELECT count(*) FROM gone) AS subjects, (SELECT count(*) FROM said) AS changes

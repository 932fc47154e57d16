-- Find the product that a name means at an instant, or the entity that a type and key mean, and lock it so that one writer at a
-- time changes it.
-- Parameters: :product; :type and :key, NULL if a product is named; :instant, NULL for now; :now, the instant up to which the
--   transaction has written.
-- Used by: db.assets.asset.lock
WITH r AS MATERIALIZED (
  SELECT CAST(:product AS text) AS product, CAST(:type AS text) AS type, CAST(:key AS text) AS key,
    coalesce(CAST(:instant AS timestamptz), greatest(clock_timestamp(), CAST(:now AS timestamptz))) AS instant
)
SELECT a.id, a.uid, a.kind, a.type
FROM asset a
WHERE a.tenant_id = CAST(:tenant AS bigint) AND a.id = (
  SELECT found.id
  FROM r
  CROSS JOIN LATERAL (
{include _asset_by_name}
  ) found
  WHERE found.meant
)
FOR NO KEY UPDATE

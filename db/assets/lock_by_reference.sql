-- Find the product that has a name at an instant, or the entity with a type and key, and lock it so that one writer at a time
-- changes it.
-- Parameters: :product; :type and :key, NULL if a product is named; :instant, NULL for now; :now, the instant up to which the
--   transaction has written; :or_deleted true to find the product that was deleted with the name, if none has it.
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
    SELECT e.id
    FROM (
{include _entity_by_key}
    ) e
    UNION ALL
    SELECT v.asset_id AS id
    FROM (
      -- names are unique at every instant, so that the last version with the name is the one that may be valid
      SELECT v.asset_id, v.valid_from, v.valid_to
      FROM product_version v
      WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.name = r.product AND v.valid_from <= r.instant
      ORDER BY v.valid_from DESC
      LIMIT 1
    ) v
    WHERE v.valid_to > r.instant OR (CAST(:or_deleted AS boolean) AND NOT EXISTS (
      -- it has another name since
      SELECT
      FROM product_version later
      WHERE later.tenant_id = CAST(:tenant AS bigint) AND later.asset_id = v.asset_id
        AND later.valid_from > v.valid_from AND later.valid_from <= r.instant
    ))
  ) found
  LIMIT 1
)
FOR NO KEY UPDATE

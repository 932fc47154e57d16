-- Find and lock the product that has a name at an instant.
-- Parameters: :name; :instant, NULL for now; :now, the instant up to which the transaction has written.
-- Used by: db.assets.product._lock_by_name
WITH wanted AS MATERIALIZED (
  SELECT coalesce(CAST(:instant AS timestamptz), greatest(clock_timestamp(), CAST(:now AS timestamptz))) AS instant
)
SELECT a.id, a.uid
FROM wanted
JOIN product_version v
  ON v.tenant_id = CAST(:tenant AS bigint) AND v.name = CAST(:name AS text)
  AND v.valid_from <= wanted.instant AND v.valid_to > wanted.instant
JOIN asset a ON a.tenant_id = v.tenant_id AND a.id = v.asset_id
FOR NO KEY UPDATE OF a

-- Lock the product with a name of which only the name is known yet: the log has stubs of it alone. Return also whether any product
-- has the name at the instant or later; there is one row, without an identity if there is no stub.
-- Parameters: :name; :instant, NULL for now.
-- Used by: db.assets.asset.lock_stub
WITH stub AS (
  SELECT a.id, a.uid, a.kind, a.type
  FROM asset a
  WHERE a.tenant_id = CAST(:tenant AS bigint) AND a.id IN (
    SELECT v.asset_id
    FROM product_version v
    WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.name = CAST(:name AS text)
  ) AND NOT EXISTS (
    SELECT
    FROM change c
    WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = 'PRODUCT' AND c.subject_id = a.id AND c.operation <> 'STUB'
  )
  FOR NO KEY UPDATE OF a
)
SELECT stub.*, EXISTS (
    SELECT
    FROM product_version v
    WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.name = CAST(:name AS text)
      AND v.valid_to > coalesce(CAST(:instant AS timestamptz), clock_timestamp())
  ) AS is_taken
FROM (VALUES (true)) AS one
LEFT JOIN stub ON true

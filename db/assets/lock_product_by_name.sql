-- Finds and locks the product that bears a name at an instant; without one, now, as the request knows it.
WITH asked AS MATERIALIZED (
  SELECT coalesce(CAST(:instant AS timestamptz), greatest(clock_timestamp(), CAST(:now AS timestamptz))) AS instant
)
SELECT a.id, a.uid
FROM asked
JOIN product_version v
  ON v.tenant_id = CAST(:tenant AS bigint) AND v.name = CAST(:name AS text)
  AND v.valid_from <= asked.instant AND v.valid_to > asked.instant
JOIN asset a ON a.tenant_id = v.tenant_id AND a.id = v.asset_id
FOR NO KEY UPDATE OF a

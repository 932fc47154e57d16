-- Finds and locks the product that bears a name at an instant; without one, now.
SELECT a.id, a.uid
FROM product_version v
JOIN asset a ON a.tenant_id = v.tenant_id AND a.id = v.asset_id
WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.name = CAST(:name AS text)
  AND v.valid_from <= coalesce(CAST(:instant AS timestamptz), (SELECT clock_timestamp()))
  AND v.valid_to > coalesce(CAST(:instant AS timestamptz), (SELECT clock_timestamp()))
FOR NO KEY UPDATE OF a

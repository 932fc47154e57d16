-- Find the versions of products that have a name at the same time as a version of another product.
-- Parameters: :subjects ids of the products.
-- Used by: db.bulk.ingest._name_conflicts
SELECT own.name, own.asset_id, other.asset_id AS other_id, greatest(own.valid_from, other.valid_from) AS since,
  nullif(least(own.valid_to, other.valid_to), 'infinity') AS until
FROM unnest(CAST(:subjects AS bigint[])) AS product (asset_id)
-- (OFFSET 0 keeps both reads index look-ups by product and by name, which a planner with outdated statistics would turn into
-- scans.)
CROSS JOIN LATERAL (
  SELECT *
  FROM product_version v
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.asset_id = product.asset_id
  OFFSET 0
) own
CROSS JOIN LATERAL (
  SELECT *
  FROM product_version v
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.name = own.name AND v.asset_id <> own.asset_id
    AND v.valid_from < own.valid_to AND v.valid_to > own.valid_from
  OFFSET 0
) other

-- Finds the versions of products that have a name at the same time as a version of another product.
-- Parameters: :products ids of the products.
-- Used by: db.bulk.ingest._name_conflicts
SELECT v.asset_id, v.name, v.valid_from, nullif(v.valid_to, 'infinity') AS valid_to, o.asset_id AS other_id,
  o.valid_from AS other_from, nullif(o.valid_to, 'infinity') AS other_to
FROM unnest(CAST(:products AS bigint[])) AS p (asset_id)
CROSS JOIN LATERAL (
  SELECT *
  FROM product_version v
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.asset_id = p.asset_id
  OFFSET 0
) v
CROSS JOIN LATERAL (
  SELECT *
  FROM product_version o
  WHERE o.tenant_id = CAST(:tenant AS bigint) AND o.name = v.name AND o.asset_id <> v.asset_id
    AND o.valid_from < v.valid_to AND o.valid_to > v.valid_from
  OFFSET 0
) o

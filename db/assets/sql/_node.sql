-- The asset `wanted.id` at `wanted.instant`, joined to `wanted`: its identity as `a`, its state as `v`. An asset that does not
-- exist then has no row. The columns of the other kind are NULL.
-- Tokens: {product_fields} and {entity_fields}, the same list of columns, in which the fields of the other kind are NULL
-- Used by: assets/nodes_by_id.sql, assets/nodes_by_uid.sql, lineage/first_page.sql
CROSS JOIN LATERAL (
  SELECT a.id, a.uid, a.kind, a.type
  FROM asset a
  WHERE a.tenant_id = CAST(:tenant AS bigint) AND a.id = wanted.id
  OFFSET 0
) a
CROSS JOIN LATERAL (
  -- the last version that began until then, so that an asset with many versions is found as fast as others
  SELECT {product_fields}
  FROM (
    SELECT *
    FROM product_version
    WHERE a.kind = 'PRODUCT' AND tenant_id = CAST(:tenant AS bigint) AND asset_id = a.id AND valid_from <= wanted.instant
    ORDER BY valid_from DESC
    LIMIT 1
  ) p
  WHERE p.valid_to > wanted.instant
  UNION ALL
  SELECT {entity_fields}
  FROM (
    SELECT *
    FROM entity_version
    WHERE a.kind = 'ENTITY' AND tenant_id = CAST(:tenant AS bigint) AND asset_id = a.id AND valid_from <= wanted.instant
    ORDER BY valid_from DESC
    LIMIT 1
  ) e
  WHERE e.valid_to > wanted.instant
  OFFSET 0
) v

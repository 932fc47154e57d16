-- The asset `wanted.id` at `wanted.instant`, joined to `wanted`: its identity as `a`, its state as `v`. An asset that does not
-- exist then has no row. The columns of the other kind are NULL.
-- Tokens: {product_fields} and {entity_fields}, the same list of columns, in which the fields of the other kind are NULL
-- Used by: assets/nodes_by_id.sql, lineage/first_page.sql
CROSS JOIN LATERAL (
  SELECT a.id, a.uid, a.kind, a.type, a.key
  FROM asset a
  WHERE a.tenant_id = CAST(:tenant AS bigint) AND a.id = wanted.id
  OFFSET 0
) a
CROSS JOIN LATERAL (
  SELECT {product_fields}
  FROM product_version p
  WHERE a.kind = 'PRODUCT' AND p.tenant_id = CAST(:tenant AS bigint) AND p.asset_id = a.id
    AND p.valid_from <= wanted.instant AND p.valid_to > wanted.instant
  UNION ALL
  SELECT {entity_fields}
  FROM entity_version e
  WHERE a.kind = 'ENTITY' AND e.tenant_id = CAST(:tenant AS bigint) AND e.asset_id = a.id
    AND e.valid_from <= wanted.instant AND e.valid_to > wanted.instant
  OFFSET 0
) v

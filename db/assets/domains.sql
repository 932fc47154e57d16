-- Read the names of the domains that exist at an instant, in order. A domain exists while a product is in it, and always if
-- an entity type belongs to it, for types are not versioned.
-- Parameters: :instant; :names to read, NULL for all.
-- Used by: db.assets.domain.domains_at, db.assets.domain.domains_by_name
SELECT d.name
FROM domain d
CROSS JOIN LATERAL (
  SELECT
  FROM entity_type t
  WHERE t.tenant_id = CAST(:tenant AS bigint) AND t.domain = d.name
  UNION ALL
  (
    SELECT
    FROM product_version v
    WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.domain = d.name
      AND v.valid_from <= CAST(:instant AS timestamptz) AND v.valid_to > CAST(:instant AS timestamptz)
    -- the order of the index, so that the planner takes it
    ORDER BY v.name
    LIMIT 1
  )
  LIMIT 1
) member
WHERE d.tenant_id = CAST(:tenant AS bigint) AND (CAST(:names AS text[]) IS NULL OR d.name = ANY (CAST(:names AS text[])))
ORDER BY d.name

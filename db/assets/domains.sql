-- The domains that exist at an instant, in order of the name; of some names only, where those are given. One exists while a product is in
-- it, and always when a type of entities belongs to it: types are not versioned.
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
    -- in the order of the index, so that it is looked for there
    ORDER BY v.name
    LIMIT 1
  )
  LIMIT 1
) something
WHERE d.tenant_id = CAST(:tenant AS bigint) AND (CAST(:names AS text[]) IS NULL OR d.name = ANY (CAST(:names AS text[])))
ORDER BY d.name

-- The domains that exist at an instant, as `d`. A domain exists while a product is in it, and always if an entity type belongs to
-- it, for types are not versioned.
-- Parameters: :instant.
-- Used by: assets/domains.sql, assets/domains_by_name.sql, assets/domain_page.sql, assets/count_domains.sql
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
WHERE d.tenant_id = CAST(:tenant AS bigint)

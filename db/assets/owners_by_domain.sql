-- Read the owners of the products of domains, each owner once per domain, in order; each domain at its own instant.
-- Parameters: :domains names; :instants, one for each.
-- Used by: db.assets.domain.owners_by_domain
SELECT DISTINCT wanted.ordinal, v.owner
FROM unnest(CAST(:domains AS text[]), CAST(:instants AS timestamptz[])) WITH ORDINALITY AS wanted (domain, instant, ordinal)
CROSS JOIN LATERAL (
  SELECT v.owner
  FROM product_version v
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.domain = wanted.domain
    AND v.valid_from <= wanted.instant AND v.valid_to > wanted.instant
  OFFSET 0
) v
ORDER BY wanted.ordinal, v.owner

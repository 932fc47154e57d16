-- Read the owners of the products of domains, in order, each with the number of its products in the domain; each domain at its own
-- instant.
-- Parameters: :domains names; :instants, one for each.
-- Used by: db.assets.domain.owners_by_domain
SELECT wanted.ordinal, v.owner, count(*) AS products
FROM unnest(CAST(:domains AS text[]), CAST(:instants AS timestamptz[])) WITH ORDINALITY AS wanted (domain, instant, ordinal)
CROSS JOIN LATERAL (
  SELECT v.owner
  FROM product_version v
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.domain = wanted.domain
    AND v.valid_from <= wanted.instant AND v.valid_to > wanted.instant
  OFFSET 0
) v
GROUP BY wanted.ordinal, v.owner
ORDER BY wanted.ordinal, v.owner

-- Who answers for the products of domains, each once, in order; each domain at an instant of its own.
SELECT DISTINCT asked.place, v.owner
FROM unnest(CAST(:domains AS text[]), CAST(:instants AS timestamptz[])) WITH ORDINALITY AS asked (domain, instant, place)
CROSS JOIN LATERAL (
  SELECT v.owner
  FROM product_version v
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.domain = asked.domain
    AND v.valid_from <= asked.instant AND v.valid_to > asked.instant
  OFFSET 0
) v
ORDER BY asked.place, v.owner

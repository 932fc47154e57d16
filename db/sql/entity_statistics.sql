-- How many entities of its types each domain has at an instant.
SELECT t.domain, count(*) AS entities
FROM entity_type t
JOIN asset a ON a.tenant_id = CAST(:tenant AS bigint) AND a.type = t.code
JOIN asset_life l
  ON l.tenant_id = CAST(:tenant AS bigint) AND l.asset_id = a.id
  AND l.valid_from <= CAST(:instant AS timestamptz) AND l.valid_to > CAST(:instant AS timestamptz)
WHERE t.tenant_id = CAST(:tenant AS bigint) AND t.domain IS NOT NULL
GROUP BY t.domain

-- How many links lead into each domain from outside of it at an instant, and how many lead out of it.
WITH placed AS (
  SELECT asset_id, domain
  FROM product_version
  WHERE tenant_id = CAST(:tenant AS bigint) AND valid_from <= CAST(:instant AS timestamptz) AND valid_to > CAST(:instant AS timestamptz)
  UNION ALL
  SELECT a.id, t.domain
  FROM entity_type t
  JOIN asset a ON a.tenant_id = CAST(:tenant AS bigint) AND a.type = t.code
  WHERE t.tenant_id = CAST(:tenant AS bigint) AND t.domain IS NOT NULL
),
-- what is in no domain is outside of all of them
crossing AS (
  SELECT source.domain AS left_behind, target.domain AS entered
  FROM lineage_link_effective l
  LEFT JOIN placed source ON source.asset_id = l.source_id
  LEFT JOIN placed target ON target.asset_id = l.target_id
  WHERE l.tenant_id = CAST(:tenant AS bigint)
    AND l.valid_from <= CAST(:instant AS timestamptz) AND l.valid_to > CAST(:instant AS timestamptz)
    AND source.domain IS DISTINCT FROM target.domain
)
SELECT domain, count(*) FILTER (WHERE enters) AS inbound, count(*) FILTER (WHERE NOT enters) AS outbound
FROM crossing
CROSS JOIN LATERAL (VALUES (entered, true), (left_behind, false)) AS side (domain, enters)
WHERE domain IS NOT NULL
GROUP BY domain

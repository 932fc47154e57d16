-- Count, for each domain, the links that enter it and the links that leave it at an instant. An asset without a domain is
-- outside of every domain.
-- Parameters: :instant of the links.
-- Used by: db.lineage.analytics.crossing_links
WITH asset_domain AS (
  -- a product names its domain, an entity has that of its type
  SELECT asset_id, domain
  FROM product_version
  WHERE tenant_id = CAST(:tenant AS bigint) AND valid_from <= CAST(:instant AS timestamptz) AND valid_to > CAST(:instant AS timestamptz)
  UNION ALL
  SELECT a.id, t.domain
  FROM entity_type t
  JOIN asset a ON a.tenant_id = CAST(:tenant AS bigint) AND a.type = t.code
  WHERE t.tenant_id = CAST(:tenant AS bigint) AND t.domain IS NOT NULL
),
crossing AS (
  SELECT source.domain AS source_domain, target.domain AS target_domain
  FROM lineage_link_effective l
  LEFT JOIN asset_domain source ON source.asset_id = l.source_id
  LEFT JOIN asset_domain target ON target.asset_id = l.target_id
  WHERE l.tenant_id = CAST(:tenant AS bigint)
    AND l.valid_from <= CAST(:instant AS timestamptz) AND l.valid_to > CAST(:instant AS timestamptz)
    AND source.domain IS DISTINCT FROM target.domain
)
SELECT domain, count(*) FILTER (WHERE enters) AS inbound, count(*) FILTER (WHERE NOT enters) AS outbound
FROM crossing
CROSS JOIN LATERAL (VALUES (target_domain, true), (source_domain, false)) AS side (domain, enters)
WHERE domain IS NOT NULL
GROUP BY domain

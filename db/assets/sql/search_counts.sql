-- Count the assets that a search finds: all of them, and those with each value of some facets, the most frequent values first.
-- Parameters: those of _search.sql; :facets, names of facets; :limit, the most values of a facet.
-- Returns: facet, value and number; the facet `total` has one row without a value.
-- Used by: db.assets.search.search_counts
WITH {include _search},
products AS (
  SELECT p.*
  FROM found f
  CROSS JOIN LATERAL (
    SELECT p.domain, p.owner, p.status, p.tags
    FROM product_version p
    WHERE p.tenant_id = CAST(:tenant AS bigint) AND p.asset_id = f.asset_id AND p.valid_from = f.valid_from
    OFFSET 0
  ) p
  WHERE f.kind = 'PRODUCT'
),
entities AS (
  SELECT a.type, t.domain
  FROM found f
  CROSS JOIN LATERAL (
    SELECT a.type FROM asset a WHERE a.tenant_id = CAST(:tenant AS bigint) AND a.id = f.asset_id OFFSET 0
  ) a
  JOIN entity_type t ON t.tenant_id = CAST(:tenant AS bigint) AND t.code = a.type
  WHERE f.kind = 'ENTITY'
),
-- the details of entities that play a role, in order of their type
roles AS (
  SELECT f.asset_id, d.role, d.code, e.details ->> d.code AS value
  FROM found f
  CROSS JOIN LATERAL (
    SELECT e.details
    FROM entity_version e
    WHERE e.tenant_id = CAST(:tenant AS bigint) AND e.asset_id = f.asset_id AND e.valid_from = f.valid_from
    OFFSET 0
  ) e
  JOIN detail_type d ON d.tenant_id = CAST(:tenant AS bigint) AND d.role IN ('OWNER', 'TAG') AND e.details ? d.code
  WHERE f.kind = 'ENTITY'
),
-- a branch that is not wanted reads nothing
valued AS (
  SELECT 'kind' AS facet, f.kind AS value
  FROM found f
  WHERE 'kind' = ANY (CAST(:facets AS text[]))
  UNION ALL
  SELECT 'type', type
  FROM entities
  WHERE 'type' = ANY (CAST(:facets AS text[]))
  UNION ALL
  SELECT 'domain', domain
  FROM products
  WHERE 'domain' = ANY (CAST(:facets AS text[]))
  UNION ALL
  SELECT 'domain', domain
  FROM entities
  WHERE 'domain' = ANY (CAST(:facets AS text[])) AND domain IS NOT NULL
  UNION ALL
  SELECT 'owner', owner
  FROM products
  WHERE 'owner' = ANY (CAST(:facets AS text[]))
  UNION ALL
  SELECT 'owner', owner.value
  FROM (
    SELECT DISTINCT ON (asset_id) value
    FROM roles
    WHERE 'owner' = ANY (CAST(:facets AS text[])) AND role = 'OWNER'
    ORDER BY asset_id, code
  ) owner
  UNION ALL
  -- an asset that has a tag twice counts once
  SELECT 'tag', tag
  FROM products
  CROSS JOIN LATERAL (SELECT DISTINCT tag FROM unnest(tags) tag) t
  WHERE 'tag' = ANY (CAST(:facets AS text[]))
  UNION ALL
  SELECT 'tag', tag.value
  FROM (SELECT DISTINCT asset_id, value FROM roles WHERE 'tag' = ANY (CAST(:facets AS text[])) AND role = 'TAG') tag
  UNION ALL
  SELECT 'status', status
  FROM products
  WHERE 'status' = ANY (CAST(:facets AS text[]))
),
counted AS (
  SELECT facet, value, count(*) AS number, row_number() OVER (PARTITION BY facet ORDER BY count(*) DESC, value COLLATE "C") AS position
  FROM valued
  GROUP BY facet, value
)
SELECT 'total' AS facet, NULL AS value, count(*) AS number, 1 AS position
FROM found
UNION ALL
SELECT facet, value, number, position
FROM counted
WHERE position <= CAST(:limit AS bigint)
ORDER BY facet, position

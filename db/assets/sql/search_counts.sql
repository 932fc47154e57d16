-- Count the assets that a search finds: all of them, and those with each value of some facets, the most frequent values first.
-- Parameters: those of _search.sql; :facets, names of facets; :limit, the most values of a facet, at least 1.
-- Returns: facet, value, number, and how many values the facet has in all; the facet `total` has one row without a value.
-- Used by: db.assets.search.search_counts
WITH {include _search},
-- what is not wanted is not read
assets AS MATERIALIZED (
  SELECT f.kind, v.*
  FROM found f
  CROSS JOIN LATERAL (
    SELECT
      CASE WHEN 'type' = ANY (CAST(:facets AS text[])) THEN v.type END AS type,
      CASE WHEN 'domain' = ANY (CAST(:facets AS text[])) THEN v.domain END AS domain,
      CASE WHEN 'owner' = ANY (CAST(:facets AS text[])) THEN v.owner END AS owner,
      CASE WHEN 'tag' = ANY (CAST(:facets AS text[])) THEN v.tags END AS tags,
      v.status
    FROM searched_versions() v
    WHERE v.kind = f.kind AND v.tenant_id = CAST(:tenant AS bigint) AND v.asset_id = f.asset_id AND v.valid_from = f.valid_from
    OFFSET 0
  ) v
  WHERE CAST(:facets AS text[]) && '{type,domain,owner,tag,status}'
),
valued AS (
  SELECT 'kind' AS facet, kind AS value
  FROM found
  WHERE 'kind' = ANY (CAST(:facets AS text[]))
  UNION ALL
  SELECT 'tag', tag.value
  FROM assets
  -- an asset that has a tag twice counts once
  CROSS JOIN LATERAL (SELECT DISTINCT value FROM unnest(tags) value) tag
  UNION ALL
  SELECT facet.name, facet.value
  FROM assets
  CROSS JOIN LATERAL (VALUES ('type', type), ('domain', domain), ('owner', owner), ('status', status)) AS facet (name, value)
  WHERE facet.name = ANY (CAST(:facets AS text[])) AND facet.value IS NOT NULL
),
counted AS (
  SELECT facet, value, count(*) AS number, row_number() OVER (PARTITION BY facet ORDER BY count(*) DESC, value COLLATE "C") AS position,
    count(*) OVER (PARTITION BY facet) AS value_count
  FROM valued
  GROUP BY facet, value
)
SELECT 'total' AS facet, NULL AS value, count(*) AS number, 1 AS position, 0 AS value_count
FROM found
UNION ALL
SELECT facet, value, number, position, value_count
FROM counted
WHERE position <= CAST(:limit AS bigint)
ORDER BY facet, position

-- Find a product by its name, walk from it, and read the first assets of the walk, all at one instant. Return one row per visited
-- asset, the product itself at depth 0, by depth and id: its id, its depth, the counters of the walk up to that depth, and, for
-- the product and the first :size assets, their columns.
-- Parameters: :name; :as_of, the instant, or NULL for now; :size; :depth the greatest depth; :assets and :links the bounds of the
--   walk; :time the bound of the statement.
-- Tokens: {near}, {far} and {link_filter} as in _walk.sql; {product_fields} and {entity_fields} as in assets/_node.sql
-- Used by: db.lineage.product_walk.walk_from_product
WITH RECURSIVE root AS (
  SELECT p.asset_id, coalesce(CAST(:as_of AS timestamptz), now()) AS instant, CAST(1 AS bigint) AS ordinal
  FROM product_version p
  WHERE p.tenant_id = CAST(:tenant AS bigint) AND p.name = CAST(:name AS text)
    AND p.valid_from <= coalesce(CAST(:as_of AS timestamptz), now()) AND p.valid_to > coalesce(CAST(:as_of AS timestamptz), now())
),
{include _walk}
SELECT wanted.member_id, wanted.depth, wanted.visited, wanted.examined, wanted.timed_out, wanted.instant AS as_of, node.*
FROM (
  SELECT w.instant, w.depth, w.visited, w.examined, w.timed_out, member.asset_id AS member_id,
    CASE WHEN row_number() OVER (ORDER BY w.depth, member.asset_id) <= CAST(:size AS bigint) + 1 THEN member.asset_id END AS id
  FROM walk w
  CROSS JOIN LATERAL unnest(w.level) AS member (asset_id)
  WHERE w.asset_id IS NULL AND w.depth >= 0
) wanted
LEFT JOIN LATERAL (
  SELECT a.id AS asset_id, a.uid, a.kind, a.type, a.key, v.*
  FROM (SELECT) AS one
  {include assets/_node}
) node ON true
ORDER BY wanted.depth, wanted.member_id

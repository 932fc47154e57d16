-- Walk from roots, and read the first assets of each walk, all at the instant of the root. Return one row per visited asset, the
-- root itself at depth 0, by root, depth and id: its id, its depth, the counters of the walk up to that depth, for the root the
-- instant, and, for the first assets, their columns.
-- Parameters: those of {root}; :depth the greatest depth; :assets and :links the bounds of each walk; :time the bound of the
--   statement.
-- Tokens: {root}, `_root_by_name.sql` or `_roots_by_id.sql`; {near}, {far} and {link_filter} as in _walk.sql; {as_of}, the
--   instant of each asset, or nothing; {product_fields} and {entity_fields} as in assets/_node.sql
-- Used by: db.lineage.first_page
WITH RECURSIVE {root},
{include _walk}
SELECT wanted.ordinal, wanted.member_id, wanted.depth, wanted.visited, wanted.examined, wanted.timed_out,
  CASE WHEN wanted.depth = 0 THEN wanted.instant END AS instant {as_of}, node.*
FROM (
  SELECT w.ordinal, w.instant, w.depth, w.visited, w.examined, w.timed_out, member.asset_id AS member_id,
    CASE
      WHEN w.depth >= root.first_depth
        AND row_number() OVER (PARTITION BY w.ordinal ORDER BY w.depth, member.asset_id) <= root.size + 1
      THEN member.asset_id
    END AS id
  FROM walk w
  JOIN root ON root.ordinal = w.ordinal
  CROSS JOIN LATERAL unnest(w.level) AS member (asset_id)
  WHERE w.depth >= 0
) wanted
LEFT JOIN LATERAL (
  SELECT a.id AS asset_id, a.uid, a.kind, a.type, a.key, v.*
  FROM (SELECT) AS one
  {include assets/_node}
) node ON true
ORDER BY wanted.ordinal, wanted.depth, wanted.member_id

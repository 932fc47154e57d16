-- Walk from roots, and read the first assets of each walk, all at the instant of the root. Return one row per visited asset, the
-- root itself at depth 0, by root, depth and id: its id, its depth, the counters of the walk up to that depth, for the root the
-- instant, and, for the first assets, their columns.
-- Parameters: :roots asset ids; :instants, the instant of each, or NULL for now; :sizes, how many assets are read of each walk;
--   those of {walk}.
-- Tokens: {walk}, `_walk.sql` or `_neighbours.sql`; {as_of}, the instant of each asset, or nothing; {product_fields} and
--   {entity_fields} as in assets/_node.sql
-- Used by: db.lineage.first_page
WITH RECURSIVE root AS (
  SELECT r.asset_id, coalesce(r.instant, now()) AS instant, r.ordinal, r.size
  FROM unnest(CAST(:roots AS bigint[]), CAST(:instants AS timestamptz[]), CAST(:sizes AS bigint[]))
    WITH ORDINALITY AS r (asset_id, instant, size, ordinal)
),
{walk}
SELECT wanted.ordinal, wanted.member_id, wanted.depth, wanted.visited, wanted.examined, wanted.timed_out,
  CASE WHEN wanted.depth = 0 THEN wanted.instant END AS instant {as_of}, node.*
FROM (
  SELECT w.ordinal, w.instant, w.depth, w.visited, w.examined, w.timed_out, member.asset_id AS member_id,
    -- the assets of the levels before, then those of this level
    CASE WHEN w.depth > 0 AND w.visited - cardinality(w.level) + member.number <= root.size THEN member.asset_id END AS id
  FROM walk w
  JOIN root ON root.ordinal = w.ordinal
  CROSS JOIN LATERAL unnest(w.level) WITH ORDINALITY AS member (asset_id, number)
  WHERE w.depth >= 0
) wanted
LEFT JOIN LATERAL (
  SELECT a.id AS asset_id, a.uid, a.kind, a.type, v.*
  FROM (SELECT) AS one
  {include assets/_node}
) node ON true
ORDER BY wanted.ordinal, wanted.depth, wanted.member_id

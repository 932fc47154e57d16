-- The CTE `walk` of _walk.sql for walks of one level, without a recursion, which takes longer than the links themselves. It has a
-- row for each root, with depth 0, and a row for its neighbours, with depth 1, if it has any.
-- Parameters: :links and :time as in _walk.sql
-- Tokens: {near}, {far}, {validity} and {link_filter} as in _walk.sql
-- Used by: db.lineage.walk.render_walk
walk (ordinal, instant, depth, level, next_level, visited, examined, timed_out) AS (
  SELECT expanded.ordinal, expanded.instant, row.depth, row.level, row.next_level, row.visited, found.examined, expanded.timed_out
  FROM (
    SELECT ordinal, instant, asset_id, clock_timestamp() - statement_timestamp() > CAST(:time AS interval) AS timed_out
    FROM root
  ) expanded
  CROSS JOIN LATERAL (
    -- no link leads from an asset to itself
    SELECT count(*) AS examined, coalesce(array_agg(DISTINCT asset_id), '{}') AS level
    FROM (
      SELECT l.{far} AS asset_id
      FROM lineage_link_effective l
      WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.{near} = expanded.asset_id AND NOT expanded.timed_out
        AND {validity} {link_filter}
      ORDER BY l.{far}
      LIMIT CAST(:links AS bigint) + 1
    ) link
  ) found
  CROSS JOIN LATERAL (
    VALUES (0, ARRAY[expanded.asset_id], found.level, CAST(0 AS bigint)),
      (1, found.level, '{}', CAST(cardinality(found.level) AS bigint))
  ) row (depth, level, next_level, visited)
  WHERE row.level <> '{}'
)

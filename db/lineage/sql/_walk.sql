-- The CTE `walk`: walks breadth-first from many roots at once, each at its own instant. It has a row per root and level: the
-- assets of that level in order of their ids, and the two counters of the walk up to it.
--
-- The counters. `visited` counts assets: each once, whether the result shows it or not, and without the root. `examined` counts
-- links: each row that the walk reads and {link_filter} admits, so parallel links of several producers, and links back to visited
-- assets, too.
--
-- How the recursion works. An iteration takes the last row of each root. It examines the links of `next_level`, the assets that
-- the iteration before found, and writes them as the level of the next row. The ends of these links that were not `seen`, the
-- root among them, are the next level. So an asset is expanded once, however many paths lead to it, and the recursion ends on a
-- graph with cycles. `seen` makes a row as long as the walk until then, which is little beside the links that were read for it.
--
-- Where a walk stops. It ends when the next level is empty. Three bounds and {depth} end it earlier, for an iteration that meets
-- one finds no next level or a partial one: see the WHERE and the LIMIT of `neighbour`.
--   depth: the level is {depth} links away from the root. The iteration writes its level and examines nothing.
--   assets: more than :assets assets are visited, the level included. The iteration writes its level and examines nothing.
--   time: :time has passed since the statement began. The iteration writes its level and examines nothing. The time belongs to
--     the statement, so all its roots share it. It is checked between iterations only, for each root before its links are
--     examined.
--   links: the iteration examines link number :links + 1 of the root, then stops, perhaps in the middle of a level. The new
--     assets that it has found by then, if any, are the last, partial level, which the next iteration writes.
-- The bounds of assets and links are those of each root. `walk_of_levels` in walk.py derives the bound that was met from
-- the last row, and drops the assets beyond the bound of assets.
--
-- Expects a CTE `root (asset_id, instant, ordinal)` in the same WITH RECURSIVE. The row of each root with depth -1 is no level.
-- Parameters: :assets and :links the bounds of each walk; :time the bound of the statement.
-- Tokens: {depth}, the parameter of the greatest depth; {near} and {far}, the columns of the end of a link at which the walk is
-- and of the end to which it goes; {validity} the condition on the period of a link `l`, at the instant of the root or in a window
-- from it on; {link_filter} further conditions on it
-- Used by: db.lineage.walk.render_walk, db.lineage.window
walk (ordinal, instant, depth, level, next_level, seen, visited, examined, timed_out) AS (
  -- Before the first level. The first iteration adds 1 to the depth and the root to the visited assets; from -1 both become 0, as
  -- the root has depth 0 and is not counted.
  SELECT ordinal, instant, -1, CAST('{}' AS bigint[]), ARRAY[asset_id], CAST('{}' AS bigint[]), CAST(-1 AS bigint),
    CAST(0 AS bigint), false
  FROM root
  UNION ALL
  SELECT expanded.ordinal, expanded.instant, expanded.depth, expanded.level, found.next_level, expanded.seen, expanded.visited,
    expanded.examined + found.examined, expanded.timed_out
  FROM (
    -- the level that this iteration writes and expands
    SELECT ordinal, instant, depth + 1 AS depth, next_level AS level, seen || next_level AS seen,
      visited + cardinality(next_level) AS visited, examined,
      clock_timestamp() - statement_timestamp() > CAST(:time AS interval) AS timed_out
    FROM walk
    WHERE next_level <> '{}'
  ) expanded
  CROSS JOIN LATERAL (
    -- One row per link that is examined, ordered by expanded asset, then by neighbour, so that the bound of links always leaves
    -- the same assets. The limit is one more than the bound allows, so that `walk_of_levels` can see that there are more.
    WITH neighbour AS MATERIALIZED (
      SELECT link.asset_id
      FROM unnest(expanded.level) AS near (asset_id)
      CROSS JOIN LATERAL (
        SELECT l.{far} AS asset_id
        FROM lineage_link_effective l
        WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.{near} = near.asset_id
          AND {validity} {link_filter}
        ORDER BY l.{far}
      ) link
      WHERE expanded.depth < CAST({depth} AS integer) AND expanded.visited <= CAST(:assets AS bigint) AND NOT expanded.timed_out
      LIMIT greatest(CAST(:links AS bigint) + 1 - expanded.examined, 0)
    )
    SELECT (SELECT count(*) FROM neighbour) AS examined,
      ARRAY(SELECT asset_id FROM neighbour EXCEPT SELECT unnest(expanded.seen) ORDER BY asset_id) AS next_level
  ) found
)

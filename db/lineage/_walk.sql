-- The CTE `walk`: walks breadth-first from many roots at once, each at its own instant. Its level rows hold the assets of a level
-- in order of their ids, and the two counters of the walk up to it.
--
-- The counters. `visited` counts assets: each once, whether the result shows it or not, and without the root. `examined` counts
-- links: each row that the walk reads and {link_filter} admits, so parallel links of several producers, and links back to visited
-- assets, too.
--
-- How the recursion works. `walk` holds two sorts of rows. A frontier row (asset_id is set) is an asset that the walk has
-- visited. A level row (asset_id is NULL) is the result for one level. The recursive term sees the rows of the previous
-- iteration: of each root the last level row, and the frontier rows that were new in that iteration. It writes this frontier into
-- the next level row and emits the neighbours of its assets as frontier rows. UNION drops a row that any earlier iteration has
-- produced. A frontier row carries no depth, so an asset is expanded once, however many paths lead to it, and the recursion ends
-- on a graph with cycles.
--
-- Where a walk stops. It ends when the frontier is empty: see the last WHERE of the recursive term. Three bounds and :depth end
-- it earlier, for an iteration that meets one leaves no frontier or a partial one: see the WHERE and the LIMIT of `neighbour`.
--   depth: the level is :depth links away from the root. The iteration writes its level and examines nothing.
--   assets: more than :assets assets are visited, the level included. The iteration writes its level and examines nothing.
--   time: :time has passed since the statement began. The iteration writes its level and examines nothing. The time belongs to
--     the statement, so all its roots share it. It is checked between iterations only, for each root before its links are
--     examined.
--   links: the iteration examines link number :links + 1 of the root, then stops, perhaps in the middle of a frontier. The new
--     assets that it has found by then, if any, are the last, partial level, which the next iteration writes.
-- The bounds of assets and links are those of each root. `walk_from_level_rows` in walk.py derives the bound that was met from
-- the last level row, and drops the assets beyond the bound of assets.
--
-- Expects a CTE `root (asset_id, instant, ordinal)` in the same WITH RECURSIVE.
-- Parameters: :depth the greatest depth; :assets and :links the bounds of each walk; :time the bound of the statement.
-- Tokens: {near} and {far}, the columns of the end of a link at which the walk is and of the end to which it goes; {link_filter}
-- conditions on a link `l`
-- Used by: lineage/walk.sql, lineage/first_page.sql
walk (ordinal, asset_id, instant, depth, level, visited, examined, timed_out) AS (
  SELECT * FROM (
    -- the first frontier is the root
    SELECT ordinal, asset_id, CAST(NULL AS timestamptz) AS instant, CAST(NULL AS integer) AS depth, CAST(NULL AS bigint[]) AS level,
      CAST(NULL AS bigint) AS visited, CAST(NULL AS bigint) AS examined, CAST(NULL AS boolean) AS timed_out
    FROM root
    UNION ALL
    -- The level row before the first. The first iteration adds 1 to the depth and the root to the visited assets; from -1 both
    -- become 0, as the root has depth 0 and is not counted.
    SELECT ordinal, NULL, instant, -1, '{}', -1, 0, false
    FROM root
  ) start
  UNION
  SELECT previous.ordinal, following.asset_id, following.instant, following.depth, following.level, following.visited,
    following.examined, following.timed_out
  FROM (
    -- the rows of the previous iteration, each beside the whole frontier of its root, in order of the ids
    SELECT ordinal, asset_id, instant, depth, visited, examined, count(asset_id) OVER of_root AS frontier_size,
      array_agg(asset_id) FILTER (WHERE asset_id IS NOT NULL) OVER of_root AS frontier,
      clock_timestamp() - statement_timestamp() > CAST(:time AS interval) AS timed_out
    FROM walk
    WINDOW of_root AS (PARTITION BY ordinal ORDER BY asset_id ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
  ) previous
  CROSS JOIN LATERAL (
    -- One row per link that is examined, ordered by frontier asset, then by neighbour, so that the bound of links always leaves
    -- the same assets. The limit is one more than the bound allows, so that `walk_from_level_rows` can see that there are more.
    WITH neighbour AS MATERIALIZED (
      SELECT link.asset_id
      FROM unnest(previous.frontier) AS expanded (asset_id)
      CROSS JOIN LATERAL (
        SELECT l.{far} AS asset_id
        FROM lineage_link_effective l
        WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.{near} = expanded.asset_id
          AND l.valid_from <= previous.instant AND l.valid_to > previous.instant {link_filter}
        ORDER BY l.{far}
      ) link
      WHERE previous.depth + 1 < CAST(:depth AS integer)
        AND previous.visited + previous.frontier_size <= CAST(:assets AS bigint)
        AND NOT previous.timed_out
      LIMIT greatest(CAST(:links AS bigint) + 1 - previous.examined, 0)
    )
    -- the next frontier; UNION removes the assets that are visited already
    SELECT asset_id, NULL AS instant, NULL AS depth, NULL AS level, NULL AS visited, NULL AS examined, NULL AS timed_out
    FROM neighbour
    UNION ALL
    -- the level row of the frontier that this iteration expands
    SELECT NULL, previous.instant, previous.depth + 1, previous.frontier, previous.visited + previous.frontier_size,
      previous.examined + (SELECT count(*) FROM neighbour), previous.timed_out
  ) following
  -- one expansion per root and iteration, at its level row; without a frontier the walk has ended
  WHERE previous.asset_id IS NULL AND previous.frontier_size > 0
)

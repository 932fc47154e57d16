-- The CTEs of one step of product_walks.sql. `walks_1` has a row per walk of step 1 and level; that of the root itself only if it
-- has no neighbours. `page_1` has the assets that the first pages of these walks show. They are the first ones of each level: as
-- many as the page has left after the levels before.
-- Parameters: those of {walk} and {size}.
-- Tokens: {step}, the number of the step; {roots}, the assets from which the walks start; {walk}, `_walk.sql` or
--   `_neighbours.sql`; {size}, the parameter of the greatest number of assets on a page
-- Used by: db.lineage.product_walks
walks_{step} AS (
  WITH RECURSIVE root AS (
    SELECT asset_id, instant, asset_id AS ordinal
    FROM {roots}
  ),
  {walk}
  SELECT ordinal AS root_id, depth, level, visited, examined, timed_out, instant
  FROM walk
  WHERE depth > 0 OR depth = 0 AND next_level = '{}'
),
page_{step} AS (
  SELECT shown.asset_id, w.instant
  FROM walks_{step} w
  CROSS JOIN LATERAL unnest(
    w.level[1 : CAST(greatest(CAST({size} AS bigint) - w.visited + cardinality(w.level), 0) AS integer)]
  ) AS shown (asset_id)
  WHERE w.depth > 0
)

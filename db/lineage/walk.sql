-- Exact breadth-first search for many roots at once, each at an instant of its own and bounded by itself: all that is reached from each,
-- level by level. Near is the end of a link at which the walk stands, far the one to which it goes.
--
-- UNION drops a row that any earlier iteration has produced, so an asset, whose row bears no depth, is looked at once however many
-- paths lead to it. Each root has one row more in each iteration, its page: a page lists a whole level, and says how much was seen so
-- far. An iteration takes the assets that the last one reached for the first time, writes them on the next page, and looks at their links.
WITH RECURSIVE asked AS (
  SELECT * FROM unnest(CAST(:roots AS bigint[]), CAST(:instants AS timestamptz[])) WITH ORDINALITY AS r (asset_id, instant, place)
),
walk (place, asset_id, instant, depth, level, reached, links, late) AS (
  SELECT * FROM (
    SELECT place, asset_id, CAST(NULL AS timestamptz) AS instant, CAST(NULL AS integer) AS depth, CAST(NULL AS bigint[]) AS level,
      CAST(NULL AS bigint) AS reached, CAST(NULL AS bigint) AS links, CAST(NULL AS boolean) AS late
    FROM asked
    UNION ALL
    -- the page before the first; a root is not among what it reaches
    SELECT place, NULL, instant, -1, '{}', -1, 0, false
    FROM asked
  ) beginning
  UNION
  SELECT here.place, step.*
  FROM (
    -- of each root its page, and beside it the level that comes next
    SELECT place, asset_id, instant, depth, reached, links, count(asset_id) OVER of_root AS width,
      array_agg(asset_id) FILTER (WHERE asset_id IS NOT NULL) OVER of_root AS level,
      clock_timestamp() - statement_timestamp() > CAST(:time AS interval) AS late
    FROM walk
    WINDOW of_root AS (PARTITION BY place ORDER BY asset_id ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
  ) here
  CROSS JOIN LATERAL (
    WITH seen AS MATERIALIZED (
      -- in the order of ids, so that what a bound leaves is always the same; one link more than may be seen tells that there are more
      SELECT link.asset_id
      FROM unnest(here.level) AS standing (asset_id)
      CROSS JOIN LATERAL (
        SELECT l.{far} AS asset_id
        FROM lineage_link_effective l
        WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.{near} = standing.asset_id
          AND l.valid_from <= here.instant AND l.valid_to > here.instant {link_filter}
        ORDER BY l.{far}
      ) link
      WHERE here.depth + 1 < CAST(:depth AS integer) AND here.reached + here.width <= CAST(:assets AS bigint) AND NOT here.late
      LIMIT greatest(CAST(:links AS bigint) + 1 - here.links, 0)
    )
    SELECT asset_id, NULL, NULL, NULL, NULL, NULL, NULL
    FROM seen
    UNION ALL
    SELECT NULL, here.instant, here.depth + 1, here.level, here.reached + here.width, here.links + (SELECT count(*) FROM seen), here.late
  ) step
  WHERE here.asset_id IS NULL AND here.width > 0
)
SELECT place, depth, level, {asset_filter} AS shown, reached, links, late
FROM walk
WHERE asset_id IS NULL AND depth >= 0
ORDER BY place, depth

-- Read the graph through which an asset is walked in a window of time, in one row: the assets that the walk can reach over links
-- that are effective at some instant of the window, and the periods of the links among them. A path over these links need not be
-- effective as a whole at any instant; `reached_in_window` finds the instants at which one is.
--
-- Columns: `assets` and `depths`, all that were found, the root first; `depth`, `visited`, `examined` and `timed_out` of
-- the last level, as in _walk.sql; `links`, `sources`, `targets`, `starts` and `ends`, a link for each of its periods, which are
-- clipped to the window and do not touch, in the order of the asset from which it was examined; `examined_links`, how many were
-- examined for these; `visible`, `visible_starts` and `visible_ends`, the periods in which a filter shows assets;
-- `examined_versions`, how many versions were examined for these; `exists`, whether the root exists at some instant of the window.
-- Parameters: :root asset id; :since and :until, the window; :all_links, false: links at the last level, which lead to no further
--   asset, are left out; :max_examined, the most links, and versions, to examine; those of {walk}, {link_filter} and {visible}.
-- Tokens: {walk}, `_walk.sql`; {near} and {far}, the columns of the end from which links are examined and of the other one;
--   {valid_from}, the start of the period in which a filter admits the link `l`; {link_filter} conditions on it; {visible}, the CTE
--   that ends `member`: `_visible_periods.sql`, or `_all_visible.sql`
-- Used by: db.lineage.window
WITH RECURSIVE root AS (
  SELECT CAST(:root AS bigint) AS asset_id, CAST(:since AS timestamptz) AS instant, CAST(1 AS bigint) AS ordinal
),
{walk},
found AS MATERIALIZED (
  SELECT level.asset_id, w.depth, row_number() OVER (ORDER BY w.depth, level.number) AS ordinal
  FROM walk w
  CROSS JOIN LATERAL unnest(w.level) WITH ORDINALITY AS level (asset_id, number)
  WHERE w.depth >= 0
),
-- the root, and the assets within the bound
member AS MATERIALIZED (
  SELECT asset_id, depth, ordinal
  FROM found
  WHERE ordinal <= CAST(:assets AS bigint) + 1
  ORDER BY ordinal
),
examined AS MATERIALIZED (
  SELECT member.ordinal, link.*
  FROM member
  CROSS JOIN LATERAL (
    SELECT l.link_id, l.source_id, l.target_id, l.{far} AS far_id, greatest(CAST(:since AS timestamptz), {valid_from}) AS valid_from,
      least(CAST(:until AS timestamptz), l.valid_to) AS valid_to
    FROM lineage_link_effective l
    WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.{near} = member.asset_id
      AND l.valid_from < CAST(:until AS timestamptz) AND l.valid_to > CAST(:since AS timestamptz) {link_filter}
    OFFSET 0
  ) link
  WHERE CAST(:all_links AS boolean) OR member.depth < CAST(:depth AS integer)
  LIMIT CAST(:max_examined AS bigint) + 1
),
-- versions of a link that follow each other are one period
link_period AS (
  SELECT e.link_id, e.source_id, e.target_id, e.ordinal,
    unnest(range_agg(tstzrange(e.valid_from, e.valid_to))) AS period
  FROM examined e
  WHERE e.valid_from < e.valid_to AND e.far_id IN (SELECT asset_id FROM member)
  GROUP BY e.link_id, e.source_id, e.target_id, e.ordinal
),
link AS (
  SELECT array_agg(link_id) AS links, array_agg(source_id) AS sources, array_agg(target_id) AS targets,
    array_agg(lower(period)) AS starts, array_agg(upper(period)) AS ends
  FROM (SELECT * FROM link_period ORDER BY ordinal, link_id, period LIMIT CAST(:links AS bigint) + 1) ordered
),
{visible}
SELECT
  (SELECT array_agg(asset_id ORDER BY ordinal) FROM found) AS assets,
  (SELECT array_agg(depth ORDER BY ordinal) FROM found) AS depths,
  last.*, link.*, visible.*,
  (SELECT count(*) FROM examined) AS examined_links,
  EXISTS (
    SELECT
    FROM asset_lifetime a
    WHERE a.tenant_id = CAST(:tenant AS bigint) AND a.asset_id = CAST(:root AS bigint)
      AND a.valid_from < CAST(:until AS timestamptz) AND a.valid_to > CAST(:since AS timestamptz)
  ) AS exists
FROM (SELECT depth, visited, examined, timed_out FROM walk ORDER BY depth DESC LIMIT 1) last, link, visible

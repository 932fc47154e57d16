-- Walk breadth-first from many roots at once, each at its own instant. Return one row per root and level: the assets of that
-- level in order of their ids, and the two counters of the walk up to it. `_walk.sql` explains how.
-- Parameters: :roots asset ids; :instants, one for each, or NULL for now; those of {walk}.
-- Tokens: {walk}, `_walk.sql` or `_neighbours.sql`; {asset_filter} the array of the assets of `walk.level` that the result shows
-- Used by: db.lineage.walk.run_walks
WITH RECURSIVE root AS (
  SELECT r.asset_id, coalesce(r.instant, now()) AS instant, r.ordinal
  FROM unnest(CAST(:roots AS bigint[]), CAST(:instants AS timestamptz[])) WITH ORDINALITY AS r (asset_id, instant, ordinal)
),
{walk}
SELECT ordinal, instant, depth, level, {asset_filter} AS visible, visited, examined, timed_out
FROM walk
WHERE depth >= 0
ORDER BY ordinal, depth

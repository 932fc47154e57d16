-- Count the assets at the other ends of the links of assets, each asset at its own instant and in its own direction, and these links.
-- Parameters: :assets ids; for each its instant in :instants, or NULL for now, and its direction in :are_upstream; those of
--   assets/_neighbour_count.sql.
-- Tokens: {upstream} and {downstream}, the counts in both directions
-- Used by: db.lineage.neighbours.count_neighbours
SELECT wanted.ordinal, CASE WHEN wanted.is_upstream THEN ({upstream}) ELSE ({downstream}) END AS count
FROM (
  SELECT CAST(:tenant AS bigint) AS tenant_id, w.asset_id, coalesce(w.instant, now()) AS instant, w.is_upstream, w.ordinal
  FROM unnest(CAST(:assets AS bigint[]), CAST(:instants AS timestamptz[]), CAST(:are_upstream AS boolean[]))
    WITH ORDINALITY AS w (asset_id, instant, is_upstream, ordinal)
) wanted

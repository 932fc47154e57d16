-- The roots of walks by their ids. They are not among the assets that are read.
-- Parameters: :roots asset ids; :instants, the instant of each, or NULL for now; :sizes, how many assets are read of each walk
-- Used by: lineage/first_page.sql
root AS (
  SELECT r.asset_id, coalesce(r.instant, now()) AS instant, r.ordinal, r.size, 1 AS first_depth
  FROM unnest(CAST(:roots AS bigint[]), CAST(:instants AS timestamptz[]), CAST(:sizes AS bigint[]))
    WITH ORDINALITY AS r (asset_id, instant, size, ordinal)
)

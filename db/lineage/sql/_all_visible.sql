-- The CTE `visible` of _visible_periods.sql without a filter: nothing is read.
visible AS (
  SELECT CAST(NULL AS bigint[]) AS visible, CAST(NULL AS timestamptz[]) AS visible_starts, CAST(NULL AS timestamptz[]) AS visible_ends,
    CAST(0 AS bigint) AS examined_versions
)

-- Merge the periods of keys: those that follow each other at once are one.
-- Expects: periods (asset_id, compared, valid_from, valid_to)
-- Provides: target, with the same columns
target AS (
  SELECT merged.asset_id, merged.compared, lower(period) AS valid_from, upper(period) AS valid_to
  FROM (
    SELECT asset_id, compared, range_agg(tstzrange(valid_from, valid_to)) AS during
    FROM periods
    GROUP BY asset_id, compared
  ) merged
  CROSS JOIN LATERAL unnest(merged.during) AS period
)

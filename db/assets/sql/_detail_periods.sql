-- Merge the periods of details: a period continues the one before it if it begins where that one ends and has the same value.
-- Expects: periods (asset_id, detail_type, value, valid_from, valid_to)
-- Provides: target, with the same columns
compared AS (
  SELECT *, lag(value) OVER of_type IS NOT DISTINCT FROM value AND lag(valid_to) OVER of_type = valid_from AS continues
  FROM periods
  WINDOW of_type AS (PARTITION BY asset_id, detail_type ORDER BY valid_from)
),
-- periods that continue each other have the same number
numbered AS (
  SELECT *, count(*) FILTER (WHERE continues IS NOT TRUE) OVER (PARTITION BY asset_id, detail_type ORDER BY valid_from) AS period
  FROM compared
),
target AS (
  SELECT asset_id, detail_type, value, min(valid_from) AS valid_from, max(valid_to) AS valid_to
  FROM numbered
  GROUP BY asset_id, detail_type, period, value
)

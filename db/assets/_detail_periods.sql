-- The stretches of `pieces` (asset_id, detail_type, value, valid_from, valid_to): a piece goes on what the one before it says, where it
-- begins as that one ends.
compared AS (
  SELECT *, lag(value) OVER of_type IS NOT DISTINCT FROM value AND lag(valid_to) OVER of_type = valid_from AS goes_on
  FROM pieces
  WINDOW of_type AS (PARTITION BY asset_id, detail_type ORDER BY valid_from)
),
numbered AS (
  SELECT *, count(*) FILTER (WHERE goes_on IS NOT TRUE) OVER (PARTITION BY asset_id, detail_type ORDER BY valid_from) AS stretch
  FROM compared
),
target AS (
  SELECT asset_id, detail_type, value, min(valid_from) AS valid_from, max(valid_to) AS valid_to
  FROM numbered
  GROUP BY asset_id, detail_type, stretch, value
)

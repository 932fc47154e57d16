-- The lives that `pieces` (asset_id, valid_from, valid_to) make up: one that begins as the one before it ends goes on with it.
compared AS (
  SELECT *, lag(valid_to) OVER (PARTITION BY asset_id ORDER BY valid_from) = valid_from AS goes_on
  FROM pieces
),
numbered AS (
  SELECT *, count(*) FILTER (WHERE goes_on IS NOT TRUE) OVER (PARTITION BY asset_id ORDER BY valid_from) AS stretch
  FROM compared
),
target AS (
  SELECT asset_id, min(valid_from) AS valid_from, max(valid_to) AS valid_to
  FROM numbered
  GROUP BY asset_id, stretch
)

-- The lifetimes that periods of versions make up: a period that begins when the one before it ends continues the same lifetime.
-- Expects: CTE periods (asset_id, valid_from, valid_to). Provides: CTE target (asset_id, valid_from, valid_to).
compared AS (
  SELECT *, lag(valid_to) OVER (PARTITION BY asset_id ORDER BY valid_from) = valid_from AS continues
  FROM periods
),
numbered AS (
  SELECT *, count(*) FILTER (WHERE continues IS NOT TRUE) OVER (PARTITION BY asset_id ORDER BY valid_from) AS lifetime
  FROM compared
),
target AS (
  SELECT asset_id, min(valid_from) AS valid_from, max(valid_to) AS valid_to
  FROM numbered
  GROUP BY asset_id, lifetime
)

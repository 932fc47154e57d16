-- Count the assets that exist at an instant and have no link at the given end.
-- Parameters: :instant of the statistic.
-- Tokens: {near} the column of that end
-- Used by: db.lineage.analytics.count_unlinked
SELECT count(*) AS assets
FROM asset_lifetime a
WHERE a.tenant_id = CAST(:tenant AS bigint)
  AND a.valid_from <= CAST(:instant AS timestamptz) AND a.valid_to > CAST(:instant AS timestamptz)
  AND NOT EXISTS (
    SELECT
    FROM lineage_link_effective l
    WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.{near} = a.asset_id
      AND l.valid_from <= CAST(:instant AS timestamptz) AND l.valid_to > CAST(:instant AS timestamptz)
  )

-- Condition that an asset may be removed: no lifetime of it reaches past :before, and no change that took effect was
-- recorded after it.
-- Expects a row `e` of the asset with kind and subject_id, and :before. (OFFSET 0 keeps the look-ups by asset, which a
-- planner with outdated statistics would turn into scans.)
NOT EXISTS (
    SELECT
    FROM asset_lifetime l
    WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.asset_id = e.subject_id AND l.valid_to > CAST(:before AS timestamptz)
    OFFSET 0
  )
  AND NOT EXISTS (
    SELECT
    FROM change c
    WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = e.kind AND c.subject_id = e.subject_id
      AND c.changed AND c.recorded_at > CAST(:before AS timestamptz)
    OFFSET 0
  )

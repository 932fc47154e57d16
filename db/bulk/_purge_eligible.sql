-- Of an asset `e` that was deleted: no life of it reaches into the time that is kept, and nothing that changed it was written down in it.
-- (Lookups by asset, which no statistics turn into a scan.)
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

  -- of which any of them said anything that holds from an instant in between
  AND EXISTS (
    SELECT
    FROM change c
    WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = '{kind}' AND c.subject_id = found.subject_id
      AND c.change_ts > CAST(:since AS timestamptz) AND c.change_ts <= CAST(:until AS timestamptz)
      AND c.actor = ANY (CAST(:actors AS text[]))
  )

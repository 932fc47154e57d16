-- Filter on assets of which one of the actors recorded a change that takes effect after :since and until :until.
-- Expects a row `candidate` (subject_id), :since, :until, :actors. Token: {kind}.
  AND EXISTS (
    SELECT
    FROM change c
    WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = '{kind}' AND c.subject_id = candidate.subject_id
      AND c.change_ts > CAST(:since AS timestamptz) AND c.change_ts <= CAST(:until AS timestamptz)
      AND c.actor = ANY (CAST(:actors AS text[]))
  )

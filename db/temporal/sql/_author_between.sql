-- Condition that an author recorded a change of a subject that takes effect after :since and until :until.
-- Expects a row `candidate` (subject_id), :since, :until and a parameter. Tokens: {kind}; {column} of the change log;
--   {values}, the parameter.
EXISTS (
    SELECT
    FROM change c
    WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = '{kind}' AND c.subject_id = candidate.subject_id
      AND c.change_ts > CAST(:since AS timestamptz) AND c.change_ts <= CAST(:until AS timestamptz)
      AND c.{column} = ANY (CAST({values} AS text[]))
  )

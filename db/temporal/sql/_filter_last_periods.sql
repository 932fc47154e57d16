-- Filter on ends of periods of associations at which no other period begins.
-- Expects a row `candidate` (at, subject_id). Tokens: {effective}, {subject} of the association kind.
  AND NOT EXISTS (
    SELECT
    FROM {effective} n
    WHERE n.tenant_id = CAST(:tenant AS bigint) AND n.{subject} = candidate.subject_id AND n.valid_from = candidate.at
  )

-- The first instant at which each association was effective, and the log entry that began its period.
-- Expects: candidate.subject_id; candidate.at, the start of the period. Provides: first.created_at;
--   recorded.recorded_at, actor and credential.
-- Tokens: {effective}, {subject}, {author} of the association kind.
CROSS JOIN LATERAL (
  SELECT e.valid_from AS created_at
  FROM {effective} e
  WHERE e.tenant_id = CAST(:tenant AS bigint) AND e.{subject} = candidate.subject_id
  ORDER BY e.valid_from
  LIMIT 1
) first
CROSS JOIN LATERAL (
  SELECT c.recorded_at, c.actor, c.credential
{author}
) recorded

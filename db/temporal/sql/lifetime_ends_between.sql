-- Read the subjects of a kind with a deletion after :since and until :until.
-- Parameters: :since and :until, the bounds of the period.
-- Tokens: {kind}.
-- Used by: db.temporal.differences.list_differences, db.temporal.differences.count_differences
SELECT c.subject_id
FROM change c
WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = '{kind}' AND c.operation = 'DELETE'
  AND c.change_ts > CAST(:since AS timestamptz) AND c.change_ts <= CAST(:until AS timestamptz)

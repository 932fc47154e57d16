-- What was deleted after one instant, and not after another.
SELECT c.subject_id
FROM change c
WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = '{kind}' AND c.operation = 'DELETE'
  AND c.change_ts > CAST(:since AS timestamptz) AND c.change_ts <= CAST(:until AS timestamptz)

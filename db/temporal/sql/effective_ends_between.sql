-- Read the associations of a kind with a period that ends after :since and until :until.
-- Parameters: :since and :until, the bounds of the period.
-- Tokens: {effective}, {subject} of the association kind.
-- Used by: db.temporal.differences.list_differences, db.temporal.differences.count_differences
SELECT e.{subject} AS subject_id
FROM {effective} e
WHERE e.tenant_id = CAST(:tenant AS bigint) AND e.valid_to < 'infinity'
  AND e.valid_to > CAST(:since AS timestamptz) AND e.valid_to <= CAST(:until AS timestamptz)

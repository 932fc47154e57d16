-- Read the subjects of a kind with a period that begins after :since and until :until.
-- Parameters: :since and :until, the bounds of the period.
-- Tokens: {periods}, {subject} of the kind.
-- Used by: db.temporal.differences.list_differences, db.temporal.differences.count_differences
SELECT v.{subject} AS subject_id
FROM {periods} v
WHERE v.tenant_id = CAST(:tenant AS bigint)
  AND v.valid_from > CAST(:since AS timestamptz) AND v.valid_from <= CAST(:until AS timestamptz)

-- Of what a version begins after one instant, and not after another.
SELECT v.{subject} AS subject_id
FROM {versions} v
WHERE v.tenant_id = CAST(:tenant AS bigint)
  AND v.valid_from > CAST(:since AS timestamptz) AND v.valid_from <= CAST(:until AS timestamptz)

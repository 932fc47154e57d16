-- Find versions of one subject that overlap. The constraints prevent it, unless they were dropped or disabled.
-- Tokens: {versions}, {subject} of the kind.
-- Used by: db.temporal.verification.verify_tenant
SELECT subject_id, valid_from, 'a version begins before the previous one ends' AS difference
FROM (
  SELECT v.{subject} AS subject_id, v.valid_from,
    lag(v.valid_to) OVER (PARTITION BY v.{subject} ORDER BY v.valid_from) AS previous_end
  FROM {versions} v
  WHERE v.tenant_id = CAST(:tenant AS bigint)
) versions
WHERE previous_end > valid_from

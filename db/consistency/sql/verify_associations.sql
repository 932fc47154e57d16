-- Clip every version of every association of a kind anew and compare the result with the effective rows. A row is a difference.
-- Tokens: {effective}, {effective_of_s}, {effective_of_t} and those of _clipped_periods, of the association kind.
-- Used by: db.temporal.verification.verify_tenant, as a projection of the association kinds
WITH affected AS (
  SELECT id AS subject_id, CAST('-infinity' AS timestamptz) AS since
  FROM {identities}
  WHERE tenant_id = CAST(:tenant AS bigint)
),
{include _clipped_periods},
stored AS (
  SELECT *
  FROM {effective}
  WHERE tenant_id = CAST(:tenant AS bigint)
)
SELECT coalesce(t.{subject}, s.{subject}) AS subject_id, coalesce(t.valid_from, s.valid_from) AS valid_from, CASE
    WHEN s.{subject} IS NULL THEN 'an effective row of an association is missing'
    WHEN t.{subject} IS NULL THEN 'an effective row of an association is not asserted, or outlives one of its ends'
    WHEN s.valid_to <> t.valid_to
      THEN 'an effective row of an association ends at another instant than its assertion and the lifetimes of its ends imply'
    ELSE 'an effective row of an association differs from its assertion or its identity'
  END AS difference
FROM target t
FULL JOIN stored s ON s.{subject} = t.{subject} AND s.valid_from = t.valid_from
WHERE t.{subject} IS NULL OR s.{subject} IS NULL OR s.valid_to <> t.valid_to
  OR ({effective_of_s}, s.digest) IS DISTINCT FROM ({effective_of_t}, t.digest)
ORDER BY 1, 2

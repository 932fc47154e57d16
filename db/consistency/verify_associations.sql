-- Cuts every version of every bond anew and compares. A row is a difference.
WITH scope AS (
  SELECT id AS subject_id, CAST('-infinity' AS timestamptz) AS since
  FROM {identities}
  WHERE tenant_id = CAST(:tenant AS bigint)
),
{include _clipped_periods},
standing AS (
  SELECT *
  FROM {effective}
  WHERE tenant_id = CAST(:tenant AS bigint)
)
SELECT coalesce(t.{subject}, s.{subject}) AS subject_id, coalesce(t.valid_from, s.valid_from) AS valid_from, CASE
    WHEN s.{subject} IS NULL THEN 'a bond that should hold is missing'
    WHEN t.{subject} IS NULL THEN 'a bond holds that was not asserted, or that outlives one of its ends'
    WHEN s.valid_to <> t.valid_to THEN 'a bond ends at another instant than what was asserted of it and the lives of its ends say'
    ELSE 'a bond that holds differs from what was asserted of it, or from what it is'
  END AS difference
FROM target t
FULL JOIN standing s ON s.{subject} = t.{subject} AND s.valid_from = t.valid_from
WHERE t.{subject} IS NULL OR s.{subject} IS NULL OR s.valid_to <> t.valid_to
  OR ({effective_of_s}, s.digest) IS DISTINCT FROM ({effective_of_t}, t.digest)
ORDER BY 1, 2

-- Folds the whole log of a kind and compares it with every version that stands. A row is a difference.
WITH log AS (
  SELECT subject_id, change_ts, seq, operation, payload
  FROM change
  WHERE tenant_id = CAST(:tenant AS bigint) AND kind = CAST(:kind AS text)
),
{include _fold},
-- what stands is taken by its content, not by the digest written beside it
standing AS (
  SELECT v.{subject} AS subject_id, v.valid_from, v.valid_to, v.created_at, v.digest, CAST(md5(CAST({state} AS text)) AS uuid) AS content
  FROM {versions} v
  WHERE v.tenant_id = CAST(:tenant AS bigint)
)
SELECT coalesce(t.subject_id, s.subject_id) AS subject_id, coalesce(t.valid_from, s.valid_from) AS valid_from, CASE
    WHEN s.subject_id IS NULL THEN 'the log makes a version that is missing'
    WHEN t.subject_id IS NULL THEN 'a version stands that the log does not make'
    WHEN s.valid_to <> t.valid_to THEN 'a version ends at another instant than the log says'
    WHEN s.created_at <> t.created_at THEN 'a version says that its subject began at another instant than the log does'
    WHEN s.content <> t.digest THEN 'a version differs in content from what the log says'
    ELSE 'the digest of a version does not fit its content'
  END AS difference
FROM target t
FULL JOIN standing s ON s.subject_id = t.subject_id AND s.valid_from = t.valid_from
WHERE t.subject_id IS NULL OR s.subject_id IS NULL OR s.valid_to <> t.valid_to
  OR s.created_at <> t.created_at OR s.content <> t.digest OR s.digest <> s.content
ORDER BY 1, 2

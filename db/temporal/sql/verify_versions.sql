-- Fold the whole change log of a kind and compare it with the versions. A row is a difference.
-- Parameters: :kind of the subjects.
-- Tokens: {versions}, {subject}, {columns}, {values}, {state} of the kind.
-- Used by: db.temporal.verification.verify_tenant
WITH log AS (
  SELECT subject_id, change_ts, seq, operation, payload
  FROM change
  WHERE tenant_id = CAST(:tenant AS bigint) AND kind = CAST(:kind AS text)
),
{include _fold},
-- The content is digested anew, rather than the stored digest trusted.
existing AS (
  SELECT v.{subject} AS subject_id, v.valid_from, v.valid_to, v.created_at, v.digest, CAST(md5(CAST({state} AS text)) AS uuid) AS content
  FROM {versions} v
  WHERE v.tenant_id = CAST(:tenant AS bigint)
)
SELECT coalesce(t.subject_id, e.subject_id) AS subject_id, coalesce(t.valid_from, e.valid_from) AS valid_from, CASE
    WHEN e.subject_id IS NULL THEN 'a version that the change log implies is missing'
    WHEN t.subject_id IS NULL THEN 'a version exists that the change log does not imply'
    WHEN e.valid_to <> t.valid_to THEN 'a version ends at another instant than the change log implies'
    WHEN e.created_at <> t.created_at THEN 'a version has another creation of its subject than the change log implies'
    WHEN e.content <> t.digest THEN 'a version differs in content from the change log'
    ELSE 'the digest of a version does not match its content'
  END AS difference
FROM target t
FULL JOIN existing e ON e.subject_id = t.subject_id AND e.valid_from = t.valid_from
WHERE t.subject_id IS NULL OR e.subject_id IS NULL OR e.valid_to <> t.valid_to
  OR e.created_at <> t.created_at OR e.content <> t.digest OR e.digest <> e.content
ORDER BY 1, 2

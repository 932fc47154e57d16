-- Changes whose subject is of another kind or of none, and subjects of which nothing was ever said.
SELECT c.subject_id, min(c.change_ts) AS valid_from, 'the log speaks of a subject that is not there' AS difference
FROM change c
LEFT JOIN {identities} i ON i.tenant_id = c.tenant_id AND i.id = c.subject_id AND {is_of_kind}
WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = '{kind}' AND i.id IS NULL
GROUP BY c.subject_id
UNION ALL
SELECT i.id, NULL, 'a subject exists of which the log says nothing'
FROM {identities} i
WHERE i.tenant_id = CAST(:tenant AS bigint) AND {is_of_kind}
  AND NOT EXISTS (
    SELECT FROM change c WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = '{kind}' AND c.subject_id = i.id
  )

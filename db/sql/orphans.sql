-- Changes whose subject is of another kind or of none, and assets of which nothing was ever said.
SELECT c.subject_id, min(c.change_ts) AS valid_from, 'the log speaks of a subject that is not there' AS difference
FROM change c
LEFT JOIN asset a ON a.tenant_id = c.tenant_id AND a.id = c.subject_id AND a.kind = c.kind
WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = CAST(:kind AS text) AND a.id IS NULL
GROUP BY c.subject_id
UNION ALL
SELECT a.id, NULL, 'an asset exists of which the log says nothing'
FROM asset a
WHERE a.tenant_id = CAST(:tenant AS bigint) AND a.kind = CAST(:kind AS text)
  AND NOT EXISTS (
    SELECT FROM change c WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = a.kind AND c.subject_id = a.id
  )

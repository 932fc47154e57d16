-- Where lives of a kind end, and none begins at the same instant: only a deletion ends one. What was deleted several times at one
-- instant ended there once. What a filter asks for comes last.
SELECT DISTINCT found.at, found.subject_id
FROM (
  SELECT c.change_ts AS at, c.subject_id
  FROM change c
  WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = '{kind}' AND c.operation = 'DELETE'
) found
CROSS JOIN LATERAL (
  SELECT v.valid_to
  FROM {versions} v
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = found.subject_id AND v.valid_from <= found.at
  ORDER BY v.valid_from DESC
  LIMIT 1
) last
WHERE last.valid_to = found.at AND {include _cursor_bounds} {filters}

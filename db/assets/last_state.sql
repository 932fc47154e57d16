-- What a subject was last, up to an instant.
SELECT {state} AS state
FROM {versions} v
WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = CAST(:subject AS bigint)
  AND v.valid_from <= coalesce(CAST(:instant AS timestamptz), 'infinity')
ORDER BY v.valid_from DESC
LIMIT 1

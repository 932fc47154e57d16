-- Where versions of a kind begin: there an asset is different from what it was just before. What a filter asks for comes last.
SELECT found.at, found.subject_id
FROM (
  SELECT v.valid_from AS at, v.{subject} AS subject_id, v.created_at
  FROM {versions} v
  WHERE v.tenant_id = CAST(:tenant AS bigint)
) found
WHERE {include _cursor_bounds} {filters}

-- Find one of these keys that belongs to another type, with the code of that type. A key without a type belonged to one that
-- another writer has removed; its row has no code.
-- Parameters: :type id of the relationship type; :keys; :near and :far, the codes of their near and far ends, one for each.
-- Used by: db.registries.relationship_type._put_keys
SELECT wanted.near, wanted.key, wanted.far, t.origin || ' ' || t.key || ' ' || t.related AS code,
  CASE WHEN (wanted.near, wanted.key, wanted.far) = (t.origin, t.key, t.related) THEN 'the key' ELSE 'the reverse key' END AS use
FROM unnest(CAST(:near AS text[]), CAST(:keys AS text[]), CAST(:far AS text[])) AS wanted (near, key, far)
LEFT JOIN relationship_key k
  ON k.tenant_id = CAST(:tenant AS bigint) AND k.near = wanted.near AND k.key = wanted.key AND k.far = wanted.far
LEFT JOIN relationship_type t ON t.tenant_id = CAST(:tenant AS bigint) AND t.id = k.type_id
WHERE k.type_id IS DISTINCT FROM CAST(:type AS bigint)
ORDER BY 1, 2, 3
LIMIT 1

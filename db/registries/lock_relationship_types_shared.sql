-- Keeps types of joins as they are until the transaction ends; a name is a key, or a code. Always in order of id.
SELECT id
FROM relationship_type
WHERE tenant_id = CAST(:tenant AS bigint)
  AND (key = ANY (CAST(:names AS text[])) OR origin || ' ' || key || ' ' || related = ANY (CAST(:names AS text[])))
ORDER BY id
FOR SHARE

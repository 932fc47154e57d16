-- Lock a type against writers of its relationships until the transaction ends. It waits for those that have written one already.
-- Parameters: :origin and :related, the codes of the ends; :key.
-- Used by: db.registries.relationship_type._lock
SELECT id, origin, key, related, reverse_key, cardinality, on_delete, foreign_key_field, created_at, updated_at, actor
FROM relationship_type
WHERE tenant_id = CAST(:tenant AS bigint)
  AND origin = CAST(:origin AS text) AND key = CAST(:key AS text) AND related = CAST(:related AS text)
FOR UPDATE

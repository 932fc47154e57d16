-- Keeps writers that join by this type waiting until the transaction ends, and waits for those that joined by it already.
SELECT id, origin, key, related, reverse_key, cardinality, on_delete, foreign_key_field
FROM relationship_type
WHERE tenant_id = CAST(:tenant AS bigint)
  AND origin = CAST(:origin AS text) AND key = CAST(:key AS text) AND related = CAST(:related AS text)
FOR UPDATE

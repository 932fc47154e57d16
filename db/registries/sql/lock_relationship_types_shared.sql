-- Lock types against changes until the transaction ends, beside other writers that do the same. The rows are locked in order
-- of the id.
-- Parameters: :names, each the key or the code of a type.
-- Used by: db.registries.relationship_type.lock_types_shared
SELECT id
FROM relationship_type
WHERE tenant_id = CAST(:tenant AS bigint)
  AND (key = ANY (CAST(:names AS text[])) OR origin || ' ' || key || ' ' || related = ANY (CAST(:names AS text[])))
ORDER BY id
FOR SHARE

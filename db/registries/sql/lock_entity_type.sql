-- Lock a type against writers that name it until the transaction ends. It waits for those that have named it already.
-- Parameters: :code of the entity type.
-- Used by: db.registries.entity_type.remove
SELECT code
FROM entity_type
WHERE tenant_id = CAST(:tenant AS bigint) AND code = CAST(:code AS text)
FOR UPDATE

-- Remove a type.
-- Parameters: :code of the entity type.
-- Used by: db.registries.entity_type.remove
DELETE FROM entity_type
WHERE tenant_id = CAST(:tenant AS bigint) AND code = CAST(:code AS text)

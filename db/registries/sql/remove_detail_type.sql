-- Remove a type.
-- Parameters: :code of the detail type.
-- Used by: db.registries.detail_type.remove
DELETE FROM detail_type
WHERE tenant_id = CAST(:tenant AS bigint) AND code = CAST(:code AS text)

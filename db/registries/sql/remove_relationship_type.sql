-- Remove a relationship type.
-- Parameters: :type id of the relationship type.
-- Used by: db.registries.relationship_type.remove
DELETE FROM relationship_type
WHERE tenant_id = CAST(:tenant AS bigint) AND id = CAST(:type AS bigint)

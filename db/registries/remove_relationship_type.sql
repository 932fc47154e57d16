-- Takes a type of joins out of the registry.
DELETE FROM relationship_type
WHERE tenant_id = CAST(:tenant AS bigint) AND id = CAST(:type AS bigint)

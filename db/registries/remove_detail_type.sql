-- Takes a type out of the registry.
DELETE FROM detail_type
WHERE tenant_id = CAST(:tenant AS bigint) AND code = CAST(:code AS text)

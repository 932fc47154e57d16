-- Find entity types and detail types by code.
-- Parameters: :entity_types and :detail_types, the codes.
-- Used by: db.registries.type_registry.find_types
SELECT true AS is_entity_type, code, NULL AS format
FROM entity_type
WHERE tenant_id = CAST(:tenant AS bigint) AND code = ANY (CAST(:entity_types AS text[]))
UNION ALL
SELECT false, code, format
FROM detail_type
WHERE tenant_id = CAST(:tenant AS bigint) AND code = ANY (CAST(:detail_types AS text[]))

-- Read the codes of the entity types, and the codes and formats of the detail types.
-- Provides: rows (is_entity_type, code, format)
SELECT true AS is_entity_type, code, NULL AS format
FROM entity_type
WHERE tenant_id = CAST(:tenant AS bigint)
UNION ALL
SELECT false, code, format
FROM detail_type
WHERE tenant_id = CAST(:tenant AS bigint)

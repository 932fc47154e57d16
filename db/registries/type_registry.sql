-- The codes of both registries, and the formats of details.
SELECT true AS of_entity, code, NULL AS format
FROM entity_type
WHERE tenant_id = CAST(:tenant AS bigint)
UNION ALL
SELECT false, code, format
FROM detail_type
WHERE tenant_id = CAST(:tenant AS bigint)

-- Read what nodes of a graph show of entity types, and the detail types that play a role for their entities, in order of the code.
-- Parameters: :codes of the entity types.
-- Used by: db.registries.node_type.node_types
SELECT code, label, domain, NULL AS role
FROM entity_type
WHERE tenant_id = CAST(:tenant AS bigint) AND code = ANY (CAST(:codes AS text[]))
UNION ALL
SELECT code, NULL, NULL, role
FROM detail_type
WHERE tenant_id = CAST(:tenant AS bigint) AND role IS NOT NULL
ORDER BY code

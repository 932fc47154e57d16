-- Read which entity types have an external source, and lock them against changes.
-- Parameters: :codes of entity types.
-- Used by: db.associations.stub.sourced_types
SELECT code, label
FROM entity_type
WHERE tenant_id = CAST(:tenant AS bigint) AND code = ANY (CAST(:codes AS text[])) AND source IS NOT NULL
ORDER BY code
FOR SHARE

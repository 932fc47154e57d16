-- Count the relationships of a type, ended ones included.
-- Parameters: :type id of the relationship type.
-- Used by: db.registries.relationship_type._count_relationships
SELECT count(*) AS relationships
FROM relationship
WHERE tenant_id = CAST(:tenant AS bigint) AND type_id = CAST(:type AS bigint)

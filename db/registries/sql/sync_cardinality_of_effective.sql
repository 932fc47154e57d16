-- Copy the cardinality of each relationship of a type to its effective rows.
-- Parameters: :type id of the relationship type.
-- Used by: db.registries.relationship_type._put
UPDATE relationship_effective r
SET one_origin = i.one_origin, one_related = i.one_related
FROM relationship i
WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.type_id = CAST(:type AS bigint) AND r.tenant_id = CAST(:tenant AS bigint)
  AND r.relationship_id = i.id AND (r.one_origin, r.one_related) IS DISTINCT FROM (i.one_origin, i.one_related)

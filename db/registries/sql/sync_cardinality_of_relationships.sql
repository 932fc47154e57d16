-- Copy the cardinality of a type to each of its relationships. The row locks keep other writers from clipping them
-- meanwhile; the plan by index takes the locks in order of the id.
-- Parameters: :type id of the relationship type.
-- Used by: db.registries.relationship_type._put
UPDATE relationship r
SET one_origin = t.one_origin, one_related = t.one_related
FROM relationship_type t
WHERE t.tenant_id = CAST(:tenant AS bigint) AND t.id = CAST(:type AS bigint) AND r.tenant_id = CAST(:tenant AS bigint)
  AND r.type_id = t.id AND (r.one_origin, r.one_related) IS DISTINCT FROM (t.one_origin, t.one_related)

-- Repeats what a type allows with each of its joins that holds, or held.
UPDATE relationship r
SET one_origin = t.one_origin, one_related = t.one_related
FROM relationship_type t
WHERE t.tenant_id = CAST(:tenant AS bigint) AND t.id = CAST(:type AS bigint) AND r.tenant_id = CAST(:tenant AS bigint)
  AND r.type_id + 0 = t.id AND (r.one_origin, r.one_related) IS DISTINCT FROM (t.one_origin, t.one_related)

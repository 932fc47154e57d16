-- Repeats what a type allows with the identity of each of its joins; that keeps others from cutting them meanwhile. (A plan by index
-- visits them in order of id.)
UPDATE relationship r
SET one_origin = t.one_origin, one_related = t.one_related
FROM relationship_type t
WHERE t.tenant_id = CAST(:tenant AS bigint) AND t.id = CAST(:type AS bigint) AND r.tenant_id = CAST(:tenant AS bigint)
  AND r.type_id = t.id AND (r.one_origin, r.one_related) IS DISTINCT FROM (t.one_origin, t.one_related)

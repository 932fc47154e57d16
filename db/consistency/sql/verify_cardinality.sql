-- Find relationships that overlap another where their type allows one, which needs the constraints to have been disabled. A
-- row is a difference.
-- Used by: db.temporal.verification.verify_tenant, as a verification of relationships
SELECT relationship_id AS subject_id, valid_from, 'a relationship overlaps another where its type allows one' AS difference
FROM (
  SELECT r.relationship_id, r.valid_from,
    t.one_related AND lag(r.valid_to) OVER (PARTITION BY r.type_id, r.origin_id ORDER BY r.valid_from) > r.valid_from AS second_related,
    t.one_origin AND lag(r.valid_to) OVER (PARTITION BY r.type_id, r.related_id ORDER BY r.valid_from) > r.valid_from AS second_origin
  FROM relationship_effective r
  JOIN relationship_type t ON t.tenant_id = CAST(:tenant AS bigint) AND t.id = r.type_id
  WHERE r.tenant_id = CAST(:tenant AS bigint)
) neighbours
WHERE second_related OR second_origin
ORDER BY 1, 2

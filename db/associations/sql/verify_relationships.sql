-- Find relationships that contradict their type. A row is a difference.
-- Used by: db.temporal.verification.verify_tenant, as a verification of relationships
SELECT r.id AS subject_id, CAST(NULL AS timestamptz) AS valid_from, CASE
    WHEN t.origin NOT IN (origin.kind, coalesce(origin.type, origin.kind)) THEN 'the origin of a relationship does not match its type'
    WHEN t.related NOT IN (related.kind, coalesce(related.type, related.kind))
      THEN 'the related end of a relationship does not match its type'
    WHEN (r.one_origin, r.one_related) <> (t.one_origin, t.one_related) THEN 'the cardinality of a relationship differs from its type'
    ELSE 'the ends of a symmetric relationship are stored in the wrong order'
  END AS difference
FROM relationship r
JOIN relationship_type t ON t.tenant_id = CAST(:tenant AS bigint) AND t.id = r.type_id
JOIN asset origin ON origin.tenant_id = CAST(:tenant AS bigint) AND origin.id = r.origin_id
JOIN asset related ON related.tenant_id = CAST(:tenant AS bigint) AND related.id = r.related_id
WHERE r.tenant_id = CAST(:tenant AS bigint)
  AND (t.origin NOT IN (origin.kind, coalesce(origin.type, origin.kind))
    OR t.related NOT IN (related.kind, coalesce(related.type, related.kind))
    OR (r.one_origin, r.one_related) <> (t.one_origin, t.one_related)
    OR (t.origin = t.related AND t.key = t.reverse_key AND origin.uid > related.uid))
ORDER BY 1

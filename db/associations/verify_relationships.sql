-- Joins that cannot be of their type. A row is a difference.
SELECT r.id AS subject_id, CAST(NULL AS timestamptz) AS valid_from, CASE
    WHEN t.origin NOT IN (o.kind, coalesce(o.type, o.kind)) THEN 'the origin of a join does not fit its type'
    WHEN t.related NOT IN (e.kind, coalesce(e.type, e.kind)) THEN 'the related end of a join does not fit its type'
    WHEN (r.one_origin, r.one_related) <> (t.one_origin, t.one_related) THEN 'a join allows another cardinality than its type'
    ELSE 'a join that reads alike from both ends stands the other way round'
  END AS difference
FROM relationship r
JOIN relationship_type t ON t.tenant_id = CAST(:tenant AS bigint) AND t.id = r.type_id
JOIN asset o ON o.tenant_id = CAST(:tenant AS bigint) AND o.id = r.origin_id
JOIN asset e ON e.tenant_id = CAST(:tenant AS bigint) AND e.id = r.related_id
WHERE r.tenant_id = CAST(:tenant AS bigint)
  AND (t.origin NOT IN (o.kind, coalesce(o.type, o.kind)) OR t.related NOT IN (e.kind, coalesce(e.type, e.kind))
    OR (r.one_origin, r.one_related) <> (t.one_origin, t.one_related)
    OR (t.origin = t.related AND t.key = t.reverse_key AND o.uid > e.uid))
ORDER BY 1

-- What of all that a type is to be called is not its own: what another type is called, and from which of its ends. What is nobody's was
-- another's until just now.
SELECT n.near, n.key, n.far, t.origin || ' ' || t.key || ' ' || t.related AS code,
  CASE WHEN (n.near, n.key, n.far) = (t.origin, t.key, t.related) THEN 'its origin' ELSE 'its other end' END AS seen_from
FROM unnest(CAST(:near AS text[]), CAST(:keys AS text[]), CAST(:far AS text[])) AS n (near, key, far)
LEFT JOIN relationship_key k ON k.tenant_id = CAST(:tenant AS bigint) AND k.near = n.near AND k.key = n.key AND k.far = n.far
LEFT JOIN relationship_type t ON t.tenant_id = CAST(:tenant AS bigint) AND t.id = k.type_id
WHERE k.type_id IS DISTINCT FROM CAST(:type AS bigint)
ORDER BY 1, 2, 3
LIMIT 1

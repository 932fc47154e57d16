-- What another type than this is called of all that this is to be called, and from which of its ends.
SELECT k.near, k.key, k.far, t.origin || ' ' || t.key || ' ' || t.related AS code,
  CASE WHEN (k.near, k.key, k.far) = (t.origin, t.key, t.related) THEN 'its origin' ELSE 'its other end' END AS seen_from
FROM unnest(CAST(:near AS text[]), CAST(:keys AS text[]), CAST(:far AS text[])) AS n (near, key, far)
JOIN relationship_key k ON k.tenant_id = CAST(:tenant AS bigint) AND k.near = n.near AND k.key = n.key AND k.far = n.far
JOIN relationship_type t ON t.tenant_id = CAST(:tenant AS bigint) AND t.id = k.type_id
WHERE k.type_id <> CAST(:type AS bigint)
ORDER BY 1, 2, 3
LIMIT 1

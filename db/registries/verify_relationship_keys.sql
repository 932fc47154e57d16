-- What types of joins are called from either end, beside what is noted of it. A row is a difference, and names the type.
SELECT coalesce(k.type_id, t.id) AS subject_id, CAST(NULL AS timestamptz) AS valid_from, CASE
    WHEN k.type_id IS NULL THEN 'a type of joins is called as nobody noted'
    WHEN t.id IS NULL THEN 'a key is noted that no type of joins is called'
    ELSE 'a key is noted that another type of joins is called'
  END AS difference
FROM (
  SELECT id, origin AS near, key, related AS far
  FROM relationship_type
  WHERE tenant_id = CAST(:tenant AS bigint)
  UNION
  SELECT id, related, reverse_key, origin
  FROM relationship_type
  WHERE tenant_id = CAST(:tenant AS bigint)
) t
FULL JOIN (
  SELECT *
  FROM relationship_key
  WHERE tenant_id = CAST(:tenant AS bigint)
) k ON k.near = t.near AND k.key = t.key AND k.far = t.far
WHERE k.type_id IS DISTINCT FROM t.id
ORDER BY 1

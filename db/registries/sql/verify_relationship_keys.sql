-- Compare the keys that relationship types have from either end with the stored ones. Each row is a difference and names the
-- type.
-- Used by: db.temporal.verification.verify_tenant
SELECT coalesce(stored.type_id, expected.type_id) AS subject_id, CAST(NULL AS timestamptz) AS valid_from, CASE
    WHEN stored.type_id IS NULL THEN 'a key of a relationship type is not stored'
    WHEN expected.type_id IS NULL THEN 'a key is stored that no relationship type has'
    ELSE 'a key is stored for a relationship type that does not have it'
  END AS difference
FROM (
  SELECT id AS type_id, origin AS near, key, related AS far
  FROM relationship_type
  WHERE tenant_id = CAST(:tenant AS bigint)
  UNION
  SELECT id, related, reverse_key, origin
  FROM relationship_type
  WHERE tenant_id = CAST(:tenant AS bigint)
) expected
FULL JOIN (
  SELECT *
  FROM relationship_key
  WHERE tenant_id = CAST(:tenant AS bigint)
) stored ON stored.near = expected.near AND stored.key = expected.key AND stored.far = expected.far
WHERE stored.type_id IS DISTINCT FROM expected.type_id
ORDER BY 1

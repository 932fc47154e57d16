-- Forgets what a type of joins is called, but for these.
DELETE FROM relationship_key
WHERE tenant_id = CAST(:tenant AS bigint) AND type_id = CAST(:type AS bigint)
  AND (near, key, far) NOT IN (
    SELECT * FROM unnest(CAST(:near AS text[]), CAST(:keys AS text[]), CAST(:far AS text[])) AS k (near, key, far)
  )

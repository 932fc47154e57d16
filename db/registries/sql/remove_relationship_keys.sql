-- Remove the keys of a relationship type, except these.
-- Parameters: :type id of the relationship type; :keys to keep; :near and :far, the codes of their near and far ends, one
--   for each.
-- Used by: db.registries.relationship_type._put_keys, db.registries.relationship_type.remove
DELETE FROM relationship_key
WHERE tenant_id = CAST(:tenant AS bigint) AND type_id = CAST(:type AS bigint)
  AND (near, key, far) NOT IN (
    SELECT * FROM unnest(CAST(:near AS text[]), CAST(:keys AS text[]), CAST(:far AS text[])) AS k (near, key, far)
  )

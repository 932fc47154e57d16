-- Replace the fields of a relationship type.
-- Parameters: :type id of the relationship type; :reverse_key, :cardinality, :on_delete and :foreign_key_field, the new values;
--   :actor who changes it.
-- Used by: db.registries.relationship_type._put
UPDATE relationship_type
SET reverse_key = CAST(:reverse_key AS text), cardinality = CAST(:cardinality AS text), on_delete = CAST(:on_delete AS text),
  foreign_key_field = CAST(:foreign_key_field AS text), updated_at = now(), actor = CAST(:actor AS text)
WHERE tenant_id = CAST(:tenant AS bigint) AND id = CAST(:type AS bigint)
RETURNING created_at, updated_at, actor

-- Add a relationship type, unless one with its key and ends exists.
-- Parameters: :origin and :related, the codes of the ends; :key; :reverse_key, :cardinality, :on_delete and
--   :foreign_key_field, the other fields of the type; :actor who adds it.
-- Used by: db.registries.relationship_type._put
INSERT INTO relationship_type (tenant_id, origin, key, related, reverse_key, cardinality, on_delete, foreign_key_field,
  created_at, updated_at, actor)
VALUES (
  CAST(:tenant AS bigint), CAST(:origin AS text), CAST(:key AS text), CAST(:related AS text), CAST(:reverse_key AS text),
  CAST(:cardinality AS text), CAST(:on_delete AS text), CAST(:foreign_key_field AS text), now(), now(), CAST(:actor AS text)
)
ON CONFLICT (tenant_id, origin, key, related) DO NOTHING
RETURNING id, created_at, updated_at, actor

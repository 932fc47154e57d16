-- Entries of registries say when they were registered and last changed, and by whom; NULL: before this migration. The details of a
-- type may play a role for their entity, such as that of its owner.
ALTER TABLE entity_type
  ADD COLUMN created_at timestamptz,
  ADD COLUMN updated_at timestamptz,
  ADD COLUMN actor text;

ALTER TABLE detail_type
  ADD COLUMN created_at timestamptz,
  ADD COLUMN updated_at timestamptz,
  ADD COLUMN actor text,
  ADD COLUMN role text,
  ADD CONSTRAINT detail_type_role CHECK (role IN ('DESCRIPTION', 'URL', 'OWNER', 'TAG'));

-- Nodes of a graph are shown with the details of these few types.
CREATE INDEX detail_type_by_role ON detail_type (tenant_id, role, code) WHERE role IS NOT NULL;

ALTER TABLE relationship_type
  ADD COLUMN created_at timestamptz,
  ADD COLUMN updated_at timestamptz,
  ADD COLUMN actor text;

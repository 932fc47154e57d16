-- Entities by their type, which the unique keys of identities found before: to count the use of a type, to remove one, and to list
-- entities in the order of their types.
CREATE INDEX asset_by_type ON asset (tenant_id, type, id) WHERE type IS NOT NULL;

-- Entities by their type, which the unique keys of identities found before: to count the use of a type, and to remove one.
CREATE INDEX asset_by_type ON asset (tenant_id, type) WHERE type IS NOT NULL;

-- Registers a type of entity, or replaces the whole of what is registered.
INSERT INTO entity_type (tenant_id, code, label, domain, source)
VALUES (
  CAST(:tenant AS bigint), CAST(:code AS text), CAST(:label AS text), CAST(:domain AS text), CAST(CAST(:source AS text) AS jsonb)
)
ON CONFLICT (tenant_id, code) DO UPDATE
SET label = excluded.label, domain = excluded.domain, source = excluded.source

-- The entity that a type and key name at an instant.
-- Expects: r.type, r.key, r.instant. Provides: the columns of the identity.
-- Used by: assets/resolve_references.sql, assets/lock_by_reference.sql
  SELECT a.id, a.uid, a.kind, a.type, a.key
  FROM asset a
  WHERE a.tenant_id = CAST(:tenant AS bigint) AND a.type = r.type AND a.key = r.key

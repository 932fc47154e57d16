-- The entity that a type and key name at an instant: the one that has the key then, else the last that had it before, else the
-- first that has it afterwards. No two have it at the same time, so that the last period is the one that may include the instant.
-- Expects: r.type, r.key, r.instant. Provides: the columns of the identity; named, true if the entity has the key at the instant.
-- Used by: assets/resolve_references.sql, assets/lock_by_reference.sql
  SELECT a.id, a.uid, a.kind, a.type, k.named
  FROM (
    (
      SELECT k.asset_id, k.valid_to > r.instant AS named
      FROM entity_key k
      WHERE k.tenant_id = CAST(:tenant AS bigint) AND k.type = r.type AND k.compared = compared_key(r.key)
        AND k.valid_from <= r.instant
      ORDER BY k.valid_from DESC
      LIMIT 1
    )
    UNION ALL
    (
      SELECT k.asset_id, false
      FROM entity_key k
      WHERE k.tenant_id = CAST(:tenant AS bigint) AND k.type = r.type AND k.compared = compared_key(r.key)
        AND k.valid_from > r.instant
      ORDER BY k.valid_from
      LIMIT 1
    )
    LIMIT 1
  ) k
  JOIN asset a ON a.tenant_id = CAST(:tenant AS bigint) AND a.id = k.asset_id

-- Lock an asset of which only its name or key is known yet: the log has stubs of it alone.
-- Parameters: :uid.
-- Tokens: {kind} of the asset.
-- Used by: db.assets.asset.lock_stub
SELECT a.id, a.uid, a.kind, a.type
FROM asset a
WHERE a.tenant_id = CAST(:tenant AS bigint) AND a.uid = CAST(:uid AS uuid) AND a.kind = '{kind}' AND NOT EXISTS (
  SELECT
  FROM change c
  WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = '{kind}' AND c.subject_id = a.id AND c.operation <> 'STUB'
)
FOR NO KEY UPDATE OF a

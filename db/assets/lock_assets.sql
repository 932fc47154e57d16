-- Lock identities by uid, and by type and key, so that one writer at a time changes an asset. Foreign keys to it are not
-- held up. The rows are locked in order of the id, so that two statements that lock assets cannot deadlock with each other.
-- Parameters: :uids; :types; :keys, one for each type.
-- Used by: db.assets.asset._lock
SELECT id, uid, kind, type, key
FROM asset
WHERE tenant_id = CAST(:tenant AS bigint) AND id = ANY (ARRAY(
  SELECT a.id
  FROM asset a
  WHERE a.tenant_id = CAST(:tenant AS bigint) AND a.uid = ANY (CAST(:uids AS uuid[]))
  UNION ALL
  SELECT a.id
  FROM unnest(CAST(:types AS text[]), CAST(:keys AS text[])) AS n (type, key)
  JOIN asset a ON a.tenant_id = CAST(:tenant AS bigint) AND a.type = n.type AND a.key = n.key
))
ORDER BY id
FOR NO KEY UPDATE

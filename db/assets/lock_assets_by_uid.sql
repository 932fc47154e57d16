-- Lock identities by uid, as lock_assets.sql does. This is the statement before most single writes, and takes half the time.
-- Parameters: :uids.
-- Used by: db.assets.asset._lock
SELECT id, uid, kind, type, key
FROM asset
WHERE tenant_id = CAST(:tenant AS bigint) AND uid = ANY (CAST(:uids AS uuid[]))
ORDER BY id
FOR NO KEY UPDATE

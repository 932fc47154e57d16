-- Lock identities by uid, so that one writer at a time changes an asset. Foreign keys to it are not held up. The rows are locked in
-- order of the id, so that two statements that lock assets cannot deadlock with each other.
-- Parameters: :uids.
-- Used by: db.assets.asset._lock
SELECT id, uid, kind, type
FROM asset
WHERE tenant_id = CAST(:tenant AS bigint) AND uid = ANY (CAST(:uids AS uuid[]))
ORDER BY id
FOR NO KEY UPDATE

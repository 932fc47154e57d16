-- Lock associations by uid against other writers. The rows are locked in order of id, so that two statements that lock
-- associations cannot deadlock with each other.
-- Parameters: :uids of the associations.
-- Tokens: {identities} of the association kind.
-- Used by: db.associations.association._lock_by_uid
SELECT id, uid
FROM {identities}
WHERE tenant_id = CAST(:tenant AS bigint) AND uid = ANY (CAST(:uids AS uuid[]))
ORDER BY id
FOR NO KEY UPDATE

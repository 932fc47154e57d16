-- Locks assets against other writers, in order of id, so that two batches cannot deadlock.
-- Parameters: :assets ids.
-- Used by: db.consistency.lifecycle.lock_by_id
SELECT id
FROM asset
WHERE tenant_id = CAST(:tenant AS bigint) AND id = ANY (CAST(:assets AS bigint[]))
ORDER BY id
FOR NO KEY UPDATE

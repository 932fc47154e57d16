-- Lock assets against other writers. The rows are locked in order of id, so that two statements that lock assets cannot
-- deadlock with each other.
-- Parameters: :assets ids.
-- Used by: db.consistency.lifecycle.lock_by_id
SELECT id
FROM asset
WHERE tenant_id = CAST(:tenant AS bigint) AND id = ANY (CAST(:assets AS bigint[]))
ORDER BY id
FOR NO KEY UPDATE

-- Locks assets against changes, and lets other writers hold the same lock. In order of id, so that two batches cannot deadlock.
-- Parameters: :assets ids.
-- Used by: db.associations.association.resolve_and_lock
SELECT id
FROM asset
WHERE tenant_id = CAST(:tenant AS bigint) AND id = ANY (CAST(:assets AS bigint[]))
ORDER BY id
FOR SHARE

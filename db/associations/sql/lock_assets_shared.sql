-- Lock assets against changes, and let other writers hold the same lock. The rows are locked in order of id, so that two
-- statements that lock assets cannot deadlock with each other.
-- Parameters: :assets ids.
-- Used by: db.associations.association.resolve_and_lock
SELECT id
FROM asset
WHERE tenant_id = CAST(:tenant AS bigint) AND id = ANY (CAST(:assets AS bigint[]))
ORDER BY id
FOR SHARE

-- Lock assets against all other writers, including those that would only refer to them. The rows are locked in order of id,
-- as by every statement that locks assets, so that two of them cannot deadlock with each other.
-- Parameters: :assets ids.
-- Used by: db.bulk.purge._PurgeTransaction.step
SELECT id
FROM asset
WHERE tenant_id = CAST(:tenant AS bigint) AND id = ANY (CAST(:assets AS bigint[]))
ORDER BY id
FOR UPDATE

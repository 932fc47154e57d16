-- Lets one writer at a time change an asset; foreign keys that point at it are not held up. Always in order of id, so that two
-- batches cannot wait for each other.
SELECT id, uid, kind
FROM asset
WHERE tenant_id = CAST(:tenant AS bigint) AND uid = ANY(CAST(:uids AS uuid[]))
ORDER BY id
FOR NO KEY UPDATE

-- Lets one writer at a time change bonds that are named by their uids. Always in order of id.
SELECT id, uid
FROM {identities}
WHERE tenant_id = CAST(:tenant AS bigint) AND uid = ANY (CAST(:uids AS uuid[]))
ORDER BY id
FOR NO KEY UPDATE

-- Lets one writer at a time change some assets. Always in order of id.
SELECT id
FROM asset
WHERE tenant_id = CAST(:tenant AS bigint) AND id = ANY (CAST(:assets AS bigint[]))
ORDER BY id
FOR NO KEY UPDATE

-- Keeps everybody off some assets, those too that would only point at them. Always in order of id, as all who lock assets do.
SELECT id
FROM asset
WHERE tenant_id = CAST(:tenant AS bigint) AND id = ANY (CAST(:assets AS bigint[]))
ORDER BY id
FOR UPDATE

-- Keeps writers from changing some assets, but not others who do the same. Always in order of id.
SELECT id
FROM asset
WHERE tenant_id = CAST(:tenant AS bigint) AND id = ANY (CAST(:assets AS bigint[]))
ORDER BY id
FOR SHARE

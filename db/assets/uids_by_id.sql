-- The uids of assets, by their ids.
SELECT id, uid
FROM asset
WHERE tenant_id = CAST(:tenant AS bigint) AND id = ANY (CAST(:assets AS bigint[]))

-- Read the uids of assets by id.
-- Parameters: :assets ids.
-- Used by: db.assets.node.uids_by_id
SELECT id, uid
FROM asset
WHERE tenant_id = CAST(:tenant AS bigint) AND id = ANY (CAST(:assets AS bigint[]))

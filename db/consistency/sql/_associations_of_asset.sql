-- The ids of the associations of one asset, at either end.
-- Expects: asset.asset_id. Provides: id. Tokens: {identities}, {near}, {far} of the association kind.
    SELECT i.id FROM {identities} i WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.{near} = asset.asset_id
    UNION ALL
    SELECT i.id FROM {identities} i WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.{far} = asset.asset_id
    OFFSET 0

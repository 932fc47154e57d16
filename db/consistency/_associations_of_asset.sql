SELECT i.id FROM {identities} i WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.{near} = s.asset_id
    UNION ALL
    SELECT i.id FROM {identities} i WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.{far} = s.asset_id
    OFFSET 0

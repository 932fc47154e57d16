SELECT l.id FROM link l WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.source_id = s.asset_id
    UNION ALL
    SELECT l.id FROM link l WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.target_id = s.asset_id
    OFFSET 0

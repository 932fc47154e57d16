-- Every stretch of what was asserted of links, in order of the link and of time, and where it ends without another that follows. An end
-- that never lived is an end that nobody else can know.
SELECT l.uid, s.uid AS source, t.uid AS target, l.producer, v.valid_from, v.type, v.transformation, v.confidence, v.metadata, CASE
    WHEN v.valid_to IS DISTINCT FROM lead(v.valid_from) OVER (PARTITION BY v.link_id ORDER BY v.valid_from)
    THEN nullif(v.valid_to, 'infinity')
  END AS ended
FROM link_version v
JOIN link l ON l.tenant_id = CAST(:tenant AS bigint) AND l.id = v.link_id
JOIN asset s ON s.tenant_id = CAST(:tenant AS bigint) AND s.id = l.source_id
JOIN asset t ON t.tenant_id = CAST(:tenant AS bigint) AND t.id = l.target_id
WHERE v.tenant_id = CAST(:tenant AS bigint)
  AND EXISTS (SELECT FROM asset_life e WHERE e.tenant_id = CAST(:tenant AS bigint) AND e.asset_id = l.source_id)
  AND EXISTS (SELECT FROM asset_life e WHERE e.tenant_id = CAST(:tenant AS bigint) AND e.asset_id = l.target_id)
ORDER BY v.link_id, v.valid_from

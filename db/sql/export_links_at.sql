-- The links that hold at an instant, in order of the link.
SELECT l.uid, s.uid AS source, t.uid AS target, h.producer, h.valid_from, h.type, h.transformation, h.confidence, h.metadata,
  CAST(NULL AS timestamptz) AS ended
FROM lineage_link h
JOIN link l ON l.tenant_id = CAST(:tenant AS bigint) AND l.id = h.link_id
JOIN asset s ON s.tenant_id = CAST(:tenant AS bigint) AND s.id = h.source_id
JOIN asset t ON t.tenant_id = CAST(:tenant AS bigint) AND t.id = h.target_id
WHERE h.tenant_id = CAST(:tenant AS bigint) AND h.valid_from <= CAST(:instant AS timestamptz) AND h.valid_to > CAST(:instant AS timestamptz)
ORDER BY h.link_id

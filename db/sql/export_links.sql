-- All that was asserted of links, in order of the link and of time: of what was said of one instant, the last; what was said again too,
-- for that tells when a link was seen. An end comes with what it ends. An end that never lived is an end that nobody else can know.
WITH said AS (
  SELECT DISTINCT ON (c.subject_id, c.change_ts) c.subject_id, c.change_ts, c.operation, c.payload
  FROM change c
  WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = 'LINK'
  ORDER BY c.subject_id, c.change_ts, c.seq DESC
),
followed AS (
  SELECT *, CASE WHEN lead(operation) OVER in_time = 'DELETE' THEN lead(change_ts) OVER in_time END AS ended
  FROM said
  WINDOW in_time AS (PARTITION BY subject_id ORDER BY change_ts)
)
SELECT l.uid, s.uid AS source, t.uid AS target, l.producer, f.change_ts AS valid_from, f.payload ->> 'type' AS type,
  f.payload ->> 'transformation' AS transformation, CAST(f.payload ->> 'confidence' AS double precision) AS confidence,
  f.payload -> 'metadata' AS metadata, f.ended
FROM followed f
JOIN link l ON l.tenant_id = CAST(:tenant AS bigint) AND l.id = f.subject_id
JOIN asset s ON s.tenant_id = CAST(:tenant AS bigint) AND s.id = l.source_id
JOIN asset t ON t.tenant_id = CAST(:tenant AS bigint) AND t.id = l.target_id
WHERE f.operation <> 'DELETE'
  AND EXISTS (SELECT FROM asset_life e WHERE e.tenant_id = CAST(:tenant AS bigint) AND e.asset_id = l.source_id)
  AND EXISTS (SELECT FROM asset_life e WHERE e.tenant_id = CAST(:tenant AS bigint) AND e.asset_id = l.target_id)
ORDER BY f.subject_id, f.change_ts

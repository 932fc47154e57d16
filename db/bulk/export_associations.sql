-- All that was asserted of bonds, in order of the bond and of time: of what was said of one instant, the last; what was said again too,
-- for that tells when a link was seen. An end comes with what it ends. An end that never lived is an end that nobody else can know.
WITH said AS (
  SELECT DISTINCT ON (c.subject_id, c.change_ts) c.subject_id, c.change_ts, c.operation, c.payload
  FROM change c
  WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = '{kind}'
  ORDER BY c.subject_id, c.change_ts, c.seq DESC
),
followed AS (
  SELECT *, CASE WHEN lead(operation) OVER in_time = 'DELETE' THEN lead(change_ts) OVER in_time END AS ended
  FROM said
  WINDOW in_time AS (PARTITION BY subject_id ORDER BY change_ts)
)
SELECT i.uid, n.uid AS near, f.uid AS far, i.{discriminator} AS part, s.change_ts AS valid_from, s.payload AS state, s.ended
FROM followed s
JOIN {identities} i ON i.tenant_id = CAST(:tenant AS bigint) AND i.id = s.subject_id
JOIN asset n ON n.tenant_id = CAST(:tenant AS bigint) AND n.id = i.{near}
JOIN asset f ON f.tenant_id = CAST(:tenant AS bigint) AND f.id = i.{far}
WHERE s.operation <> 'DELETE'
  AND EXISTS (SELECT FROM asset_lifetime l WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.asset_id = i.{near})
  AND EXISTS (SELECT FROM asset_lifetime l WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.asset_id = i.{far})
ORDER BY s.subject_id, s.change_ts

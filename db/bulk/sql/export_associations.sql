-- Read every assertion of the associations of a kind with the whole state from it on, in order of the association and of time. Of
-- several for one instant read the last. Keep assertions that restate what was true already, for they date a link's observations.
-- A deletion is the `ended` of the assertion before it. Associations with an end that never had a lifetime are left out: nothing
-- else in an export would explain that end.
-- Tokens: {kind}, {identities}, {near}, {far}, {discriminator} of the kind.
-- Used by: db.bulk.export.associations
WITH folded AS (
  SELECT c.subject_id, c.change_ts, c.seq, nullif(fold(c.operation, c.payload) OVER so_far, 'null') AS state
  FROM change c
  WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = '{kind}'
  WINDOW so_far AS (PARTITION BY c.subject_id ORDER BY c.change_ts, c.seq)
),
assertions AS (
  SELECT DISTINCT ON (subject_id, change_ts) *
  FROM folded
  ORDER BY subject_id, change_ts, seq DESC
),
-- A change without a state is a deletion, or an update after one.
with_end AS (
  SELECT *, CASE WHEN lead(state) OVER in_time IS NULL THEN lead(change_ts) OVER in_time END AS ended
  FROM assertions
  WINDOW in_time AS (PARTITION BY subject_id ORDER BY change_ts)
)
SELECT i.uid, n.uid AS near, f.uid AS far, i.{discriminator} AS discriminator, s.change_ts AS valid_from, s.state, s.ended
FROM with_end s
JOIN {identities} i ON i.tenant_id = CAST(:tenant AS bigint) AND i.id = s.subject_id
JOIN asset n ON n.tenant_id = CAST(:tenant AS bigint) AND n.id = i.{near}
JOIN asset f ON f.tenant_id = CAST(:tenant AS bigint) AND f.id = i.{far}
WHERE s.state IS NOT NULL
  AND EXISTS (SELECT FROM asset_lifetime l WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.asset_id = i.{near})
  AND EXISTS (SELECT FROM asset_lifetime l WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.asset_id = i.{far})
ORDER BY s.subject_id, s.change_ts

-- Lock an asset, and append a PATCH of it to the change log if that is simple: if the asset exists and the change is later than
-- all others of it in the log. That is a change that is IN_ORDER or UNCHANGED to append_changes.sql, which judges all others.
-- Parameters: :uid of the asset; :payload of the PATCH; :instant, null for now; :tolerance, how far in the future an instant may
--   be; :producer of the log entry; those of tenancy/_audit.sql.
-- Returns: the identity of the asset, if there is one; beside it instant of the change; changed, true if it changed the state;
--   state, valid_from and created_at of the version that is valid then. They are null if nothing was appended.
-- Tokens: {kind}, {versions}, {subject}, {columns}, {values}, {after}, {state} of the kind.
-- Used by: db.temporal.change_log.append_in_order
WITH locked AS (
  SELECT id, uid, kind, type
  FROM asset
  WHERE tenant_id = CAST(:tenant AS bigint) AND uid = CAST(:uid AS uuid)
  FOR NO KEY UPDATE
),
-- The statement sees what was committed before it began, and the lock may have been waited for. The log is read anew, and by the
-- clock of now. The state cannot be another one unless the version has been closed or removed, of which `closed` and `kept` take
-- care.
timed AS MATERIALIZED (
  SELECT locked.id, clock.now, latest.change_ts AS latest_ts,
    coalesce(CAST(:instant AS timestamptz), greatest(clock.now, latest.change_ts + interval '1 microsecond')) AS instant
  FROM locked
  CROSS JOIN LATERAL (SELECT latest_change(CAST(:tenant AS bigint), '{kind}', locked.id) AS change_ts OFFSET 0) latest
  CROSS JOIN LATERAL (SELECT clock_timestamp() AS now WHERE latest.change_ts IS NOT NULL) clock
  WHERE locked.kind = '{kind}'
),
judged AS (
  SELECT *, state <> state_before AS changed
  FROM (
    SELECT timed.id, timed.now, timed.instant, v.*, next_state(v.state_before, 'PATCH', CAST(:payload AS jsonb)) AS state
    FROM timed
    CROSS JOIN LATERAL (
      SELECT v.ctid AS row_ctid, v.valid_from, v.created_at, {state} AS state_before
      FROM {versions} v
      WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = timed.id AND v.valid_to = 'infinity'
      OFFSET 0
    ) v
    WHERE timed.instant > timed.latest_ts AND timed.instant <= timed.now + CAST(:tolerance AS interval)
    OFFSET 0
  ) patched
),
-- Nothing is appended if another writer closed or removed the version before the lock was acquired.
closed AS (
  UPDATE {versions} v
  SET valid_to = j.instant
  FROM judged j
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.ctid = j.row_ctid AND v.valid_to = 'infinity' AND j.changed
  RETURNING j.id, j.now, j.instant, j.changed, j.state, j.instant AS valid_from, j.created_at
),
kept AS (
  SELECT j.id, j.now, j.instant, j.changed, j.state, j.valid_from, j.created_at
  FROM judged j
  JOIN {versions} v ON v.tenant_id = CAST(:tenant AS bigint) AND v.ctid = j.row_ctid AND v.valid_to = 'infinity'
  WHERE NOT j.changed
  FOR NO KEY UPDATE OF v
),
accepted AS (
  SELECT * FROM closed
  UNION ALL
  SELECT * FROM kept
),
opened AS (
  INSERT INTO {versions} (tenant_id, {subject}, valid_from, created_at, digest, {columns})
  SELECT CAST(:tenant AS bigint), c.id, c.instant, c.created_at, CAST(md5(CAST({values} AS text)) AS uuid), {after}
  FROM closed c
  CROSS JOIN LATERAL jsonb_populate_record(CAST(NULL AS {versions}), c.state) AS after
),
appended AS (
  INSERT INTO change (tenant_id, kind, subject_id, operation, change_ts, payload, changed, recorded_at, actor, request_id,
    credential, producer)
  SELECT CAST(:tenant AS bigint), '{kind}', id, 'PATCH', instant, CAST(:payload AS jsonb), changed, now, CAST(:actor AS text),
    CAST(:request_id AS text), CAST(:credential AS text), CAST(:producer AS text)
  FROM accepted
),
{include tenancy/_audit}
SELECT locked.id, locked.uid, locked.kind, locked.type, accepted.instant, accepted.changed, accepted.state,
  accepted.valid_from, accepted.created_at
FROM locked
LEFT JOIN accepted ON accepted.id = locked.id

-- Judge a batch of changes in the order of their instants, and append those that are accepted to the change log. A change
-- that is the only one of its subject in the batch and later than all others in the log (IN_ORDER) is applied to the
-- versions at once. Any other change that takes effect (OUT_OF_ORDER: a late change, or one of several instants of a subject
-- in one batch) is left to rebuild_versions.sql. The caller has locked the subjects.
-- Parameters: :kind; :subjects ids; :operations, :payloads, :instants (null: now) and :creating (true if the subject
--   must not exist yet), one for each; :with_states, true if states are to be returned; :reject_restatement, true if a request
--   may not state a subject twice at one instant; :tolerance, how far in the future an instant may be; :producer
--   of the log entries; those of tenancy/_audit.sql, of which the log entries have :actor, :credential and :request_id.
-- Returns: one row a change, in the order of the batch: subject_id; instant from which the change is valid; now; verdict,
--   explained in db.temporal.change_log.Verdict; changed, true if the change changed the state; created, true if it is the
--   first change of its subject; changes_lifetime, true if the subject began or ceased to exist with it; is_new_subject,
--   true if the log had no change of the subject; state and created_at of the version that begins with the change, if it is
--   IN_ORDER, is wanted, and does not end the subject.
-- Tokens: {versions}, {subject}, {columns}, {values}, {after}, {state} of the kind.
-- Used by: db.temporal.change_log.append_changes
-- Most batches have one change. Then the start of the statement takes longer than its run, and each table that it names costs.
WITH timed AS (
  -- A change without an instant takes effect now, but after the latest change of its subject in the log, which is at latest_ts.
  SELECT i.ordinal, i.subject_id, i.operation, CAST(i.payload AS jsonb) AS payload, i.creating, clock.now,
    latest.change_ts AS latest_ts, coalesce(i.instant, greatest(clock.now, latest.change_ts + interval '1 microsecond')) AS instant
  FROM unnest(
    CAST(:subjects AS bigint[]), CAST(:operations AS text[]), CAST(:payloads AS text[]),
    CAST(:instants AS timestamptz[]), CAST(:creating AS boolean[])
  ) WITH ORDINALITY AS i (subject_id, operation, payload, instant, creating, ordinal)
  CROSS JOIN (SELECT clock_timestamp() AS now) clock
  LEFT JOIN LATERAL (
    SELECT c.change_ts
    FROM change c
    WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = CAST(:kind AS text) AND c.subject_id = i.subject_id
    ORDER BY c.change_ts DESC, c.seq DESC
    LIMIT 1
  ) latest ON true
),
-- Of several changes of a subject at one instant in the batch, only the first is judged; the others repeat or contradict it.
-- The batch covers the period of a subject from `since` to `until`.
ranked AS (
  SELECT *, row_number() OVER at_once AS nth,
    operation = first_value(operation) OVER at_once AND payload IS NOT DISTINCT FROM first_value(payload) OVER at_once AS repeats_first,
    row_number() OVER of_subject AS nth_of_subject, min(instant) OVER of_subject AS since, max(instant) OVER of_subject AS until,
    bool_or(creating OR operation IN ('STUB', 'DELETE')) OVER of_subject AS depends_on_past
  FROM timed
  WINDOW at_once AS (PARTITION BY subject_id, instant ORDER BY ordinal), of_subject AS (PARTITION BY subject_id)
),
-- The changes to fold: the state just before the batch, the log of the time that the batch covers, and the batch.
timeline AS (
  -- Sentinel for the log before `since`: JSON null means that the subject existed and ended, SQL NULL that it never existed;
  -- only then does a STUB begin a state. The sentinel matters if the batch has a STUB, a DELETE or a `creating` change, or if
  -- a STUB is folded that the log has in the period that the batch covers (latest_ts >= since).
  SELECT r.subject_id, CAST('-infinity' AS timestamptz) AS change_ts, CAST(0 AS bigint) AS seq, 'SET' AS operation,
    CAST('null' AS jsonb) AS payload, CAST(NULL AS boolean) AS changed, CAST(NULL AS text) AS request_id,
    CAST(NULL AS timestamptz) AS created_at, CAST(NULL AS tid) AS row_ctid, CAST(NULL AS bigint) AS ordinal,
    CAST(NULL AS boolean) AS creating, CAST(NULL AS boolean) AS is_in_order, CAST(NULL AS timestamptz) AS now
  FROM ranked r
  WHERE r.nth_of_subject = 1 AND (r.depends_on_past OR r.latest_ts >= r.since) AND EXISTS (
    SELECT
    FROM change c
    WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = CAST(:kind AS text) AND c.subject_id = r.subject_id
      AND c.change_ts < r.since AND c.operation <> 'STUB'
  )
  UNION ALL
  -- The last version before the batch counts as a first SET. That includes one that ends exactly at `since` (hence >= and not
  -- >): a change at `since` ended it, and that change is folded below. One that ended before counts as a DELETE; it has the
  -- creation of the subject.
  SELECT r.subject_id, base.valid_from, 0, CASE WHEN base.valid_to >= r.since THEN 'SET' ELSE 'DELETE' END,
    CASE WHEN base.valid_to >= r.since THEN base.state END, NULL, NULL, base.created_at,
    CASE WHEN base.valid_to >= r.since THEN base.row_ctid END, NULL, NULL, NULL, NULL
  FROM ranked r
  CROSS JOIN LATERAL (
    SELECT v.ctid AS row_ctid, v.valid_from, v.valid_to, v.created_at, {state} AS state
    FROM {versions} v
    WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = r.subject_id AND v.valid_from < r.since
      AND r.latest_ts IS NOT NULL
    ORDER BY v.valid_from DESC
    LIMIT 1
  ) base
  WHERE r.nth_of_subject = 1
  UNION ALL
  -- The log of the period that the batch covers.
  SELECT r.subject_id, c.change_ts, c.seq, c.operation, c.payload, c.changed, c.request_id, NULL, NULL, NULL, NULL, NULL, NULL
  FROM ranked r
  CROSS JOIN LATERAL (
    SELECT *
    FROM change c
    WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = CAST(:kind AS text) AND c.subject_id = r.subject_id
      AND c.change_ts BETWEEN r.since AND r.until AND r.latest_ts >= r.since
    OFFSET 0
  ) c
  WHERE r.nth_of_subject = 1
  UNION ALL
  -- The batch. As `seq`, the greatest bigint sorts a change after all recorded changes at its instant.
  SELECT subject_id, instant, 9223372036854775807, operation, payload, NULL, NULL, NULL, NULL, ordinal, creating,
    since = until AND (latest_ts IS NULL OR instant > latest_ts), now
  FROM ranked
  WHERE nth = 1
),
-- Each change beside the one before it. `is_known`: the log has the subject, and not only as a stub.
preceded AS (
  SELECT *, lag(change_ts) OVER so_far = change_ts AS same_instant,
    lag(operation) OVER so_far = operation AND lag(payload) OVER so_far IS NOT DISTINCT FROM payload AS same_content,
    lag(changed) OVER so_far AS changed_before, lag(request_id) OVER so_far AS request_id_before,
    lag(row_ctid) OVER so_far AS row_ctid_before, max(created_at) OVER so_far AS created_before,
    bool_or(ordinal IS NULL AND created_at IS NULL AND operation <> 'STUB') OVER so_far AS is_known
  FROM timeline
  WINDOW so_far AS (PARTITION BY subject_id ORDER BY change_ts, seq)
),
folded AS (
  SELECT *, nullif(fold(operation, payload) OVER so_far, 'null') AS state,
    count(*) FILTER (WHERE operation IN ('SET', 'STUB')) OVER so_far AS beginnings
  FROM preceded
  -- Changes that contradict what the same request wrote of the subject at the same instant before are left out.
  WHERE (CAST(:reject_restatement AS boolean) AND ordinal IS NOT NULL AND same_instant AND NOT same_content
    AND request_id_before = CAST(:request_id AS text)) IS NOT TRUE
  WINDOW so_far AS (PARTITION BY subject_id ORDER BY change_ts, seq)
),
compared AS (
  SELECT *, lag(state) OVER so_far AS state_before
  FROM folded
  WINDOW so_far AS (PARTITION BY subject_id ORDER BY change_ts, seq)
),
judged AS (
  SELECT ordinal, subject_id, change_ts AS instant, now, operation, payload, state, state_before, changed_before, row_ctid_before,
    coalesce(created_before, change_ts) AS created_at, beginnings, CASE
      WHEN change_ts > now + CAST(:tolerance AS interval) THEN 'FUTURE'
      WHEN same_instant AND same_content THEN 'REPLAYED'
      -- A stub may still be created: all that is known of it is that it exists.
      WHEN creating AND state_before IS NOT NULL AND is_known THEN 'ALREADY_EXISTS'
      WHEN operation = 'PATCH' AND state_before IS NULL THEN 'NOT_FOUND'
      WHEN operation = 'DELETE' AND beginnings = 0 THEN 'NOT_FOUND'
      WHEN state IS NOT DISTINCT FROM state_before THEN 'UNCHANGED'
      WHEN is_in_order THEN 'IN_ORDER'
      ELSE 'OUT_OF_ORDER'
    END AS verdict
  FROM compared
  WHERE ordinal IS NOT NULL
),
-- The log gets the accepted changes, including those that change nothing.
appended AS (
  INSERT INTO change (tenant_id, kind, subject_id, operation, change_ts, payload, changed, recorded_at, actor, request_id,
    credential, producer)
  SELECT CAST(:tenant AS bigint), CAST(:kind AS text), subject_id, operation, instant, payload, verdict <> 'UNCHANGED', now,
    CAST(:actor AS text), CAST(:request_id AS text), CAST(:credential AS text), CAST(:producer AS text)
  FROM judged
  WHERE verdict IN ('UNCHANGED', 'IN_ORDER', 'OUT_OF_ORDER')
  ORDER BY instant, ordinal
),
-- A change in order ends the version just before it, and begins one unless it is a deletion.
closed AS (
  UPDATE {versions} v
  SET valid_to = j.instant
  FROM judged j
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.ctid = j.row_ctid_before AND j.verdict = 'IN_ORDER'
  RETURNING v.{subject}
),
opened AS (
  INSERT INTO {versions} (tenant_id, {subject}, valid_from, created_at, digest, {columns})
  SELECT CAST(:tenant AS bigint), j.subject_id, j.instant, j.created_at, CAST(md5(CAST({values} AS text)) AS uuid), {after}
  FROM judged j
  CROSS JOIN LATERAL jsonb_populate_record(CAST(NULL AS {versions}), j.state) AS after
  -- Reading `closed` forces the UPDATE to run before this INSERT.
  WHERE j.verdict = 'IN_ORDER' AND j.operation <> 'DELETE' AND (SELECT count(*) FROM closed) >= 0
),
{include tenancy/_audit}
SELECT r.subject_id, r.instant, r.now, CASE
    WHEN r.nth = 1 THEN coalesce(j.verdict, 'CONTRADICTORY')
    WHEN j.verdict IS NULL OR NOT r.repeats_first THEN 'CONTRADICTORY'
    WHEN j.is_accepted THEN 'REPLAYED'
    ELSE j.verdict
  END AS verdict,
  CASE j.verdict
    WHEN 'REPLAYED' THEN j.changed_before
    ELSE coalesce(j.takes_effect, false)
  END AS changed,
  -- The first accepted change of a subject is the first that begins a state.
  coalesce(r.nth = 1 AND r.latest_ts IS NULL AND j.is_accepted AND j.beginnings = 1 AND j.operation IN ('SET', 'STUB'), false)
    AS created,
  -- False if the change only changed the state within a lifetime.
  coalesce(j.takes_effect AND (j.operation = 'DELETE' OR j.state_before IS NULL), false) AS changes_lifetime,
  r.latest_ts IS NULL AS is_new_subject,
  CASE WHEN CAST(:with_states AS boolean) AND j.verdict = 'IN_ORDER' THEN j.state END AS state,
  j.created_at
FROM ranked r
LEFT JOIN (
  SELECT *, verdict IN ('IN_ORDER', 'OUT_OF_ORDER') AS takes_effect, verdict IN ('UNCHANGED', 'IN_ORDER', 'OUT_OF_ORDER') AS is_accepted
  FROM judged
) j ON j.subject_id = r.subject_id AND j.instant = r.instant
ORDER BY r.ordinal

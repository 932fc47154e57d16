-- Judge a batch of changes in the order of their instants, and append those that are accepted to the change log. A change
-- that is the only one of its subject in the batch and later than all others in the log (IN_ORDER) is applied to the
-- versions at once. Any other change that takes effect (OUT_OF_ORDER: a late change, or one of several instants of a subject
-- in one batch) is left to rebuild_versions.sql. The caller has locked the subjects.
-- Parameters: :kind; :subjects ids; :operations, :payloads, :instants (null: now) and :creating (true if the subject
--   must not exist yet), one for each; :with_states, true if states are to be returned; :reject_restatement, true if a request may not state a subject twice at one
--   instant; :tolerance, how far in the future an instant may be; :actor and :request_id of the log entries.
-- Returns: one row a change, in the order of the batch: subject_id; instant from which the change is valid; now; verdict,
--   explained in db.temporal.change_log.Verdict; changed, true if the change changed the state; created, true if it is the
--   first change of its subject; changes_lifetime, true if the subject began or ceased to exist with it; is_new_subject,
--   true if the log had no change of the subject; state and created_at of the version that begins with the change, if it is
--   IN_ORDER, is wanted, and neither ends nor restores the subject.
-- Tokens: {versions}, {subject}, {columns}, {values}, {after}, {state} of the kind.
-- Used by: db.temporal.change_log.append_changes
WITH incoming AS (
  SELECT i.ordinal, i.subject_id, i.operation, CAST(i.payload AS jsonb) AS payload, i.instant, i.creating
  FROM unnest(
    CAST(:subjects AS bigint[]), CAST(:operations AS text[]), CAST(:payloads AS text[]),
    CAST(:instants AS timestamptz[]), CAST(:creating AS boolean[])
  ) WITH ORDINALITY AS i (subject_id, operation, payload, instant, creating, ordinal)
),
-- A change without an instant takes effect now, but after the latest change of its subject in the log, which is at latest_ts.
timed AS (
  SELECT i.ordinal, i.subject_id, i.operation, i.payload, i.creating, clock.now, latest.change_ts AS latest_ts,
    coalesce(i.instant, greatest(clock.now, latest.change_ts + interval '1 microsecond')) AS instant
  FROM incoming i
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
ranked AS (
  SELECT *, row_number() OVER at_once AS nth,
    operation = first_value(operation) OVER at_once AND payload IS NOT DISTINCT FROM first_value(payload) OVER at_once AS repeats_first
  FROM timed
  WINDOW at_once AS (PARTITION BY subject_id, instant ORDER BY ordinal)
),
-- Changes that contradict what the same request wrote of the subject at the same instant before. They are left out below.
contradictory AS (
  SELECT r.ordinal, r.subject_id, r.instant
  FROM ranked r
  CROSS JOIN LATERAL (
    SELECT c.operation, c.payload, c.request_id
    FROM change c
    WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = CAST(:kind AS text) AND c.subject_id = r.subject_id
      AND c.change_ts = r.instant AND r.instant <= r.latest_ts AND CAST(:reject_restatement AS boolean) AND r.nth = 1
    ORDER BY c.seq DESC
    LIMIT 1
  ) latest
  WHERE latest.request_id = CAST(:request_id AS text)
    AND NOT (latest.operation = r.operation AND latest.payload IS NOT DISTINCT FROM r.payload)
),
-- The subjects of the batch, with the period that it covers.
affected AS (
  SELECT subject_id, min(instant) AS since, max(instant) AS until, min(latest_ts) AS latest_ts, bool_or(operation = 'STUB') AS stubs
  FROM ranked
  GROUP BY subject_id
),
-- The changes to fold: the state just before the batch, the log of the time that the batch covers, and the batch.
timeline AS (
  -- Sentinel for the log before `since`: JSON null means that the subject existed and ended, SQL NULL that it never existed;
  -- only then does a STUB begin a state. The sentinel matters if a STUB is folded: one of the batch (stubs), or maybe one
  -- that the log has in the period that the batch covers (latest_ts >= since).
  SELECT affected.subject_id, CAST('-infinity' AS timestamptz) AS change_ts, CAST(0 AS bigint) AS seq, 'SET' AS operation,
    CAST('null' AS jsonb) AS payload, CAST(NULL AS boolean) AS changed, CAST(NULL AS bigint) AS ordinal,
    CAST(NULL AS timestamptz) AS created_at, CAST(NULL AS tid) AS row_ctid
  FROM affected
  WHERE (affected.stubs OR affected.latest_ts >= affected.since) AND EXISTS (
    SELECT
    FROM change c
    WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = CAST(:kind AS text) AND c.subject_id = affected.subject_id
      AND c.change_ts < affected.since AND c.operation <> 'STUB'
  )
  UNION ALL
  -- The version just before the batch counts as a first SET. It includes one that ends exactly at `since` (hence >= and not
  -- >): a change at `since` ended it, and that change is folded below.
  SELECT affected.subject_id, base.valid_from, 0, 'SET', base.state, NULL, NULL, base.created_at, base.row_ctid
  FROM affected
  CROSS JOIN LATERAL (
    SELECT v.ctid AS row_ctid, v.valid_from, v.valid_to, v.created_at, {state} AS state
    FROM {versions} v
    WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = affected.subject_id AND v.valid_from < affected.since
      AND affected.latest_ts IS NOT NULL
    ORDER BY v.valid_from DESC
    LIMIT 1
  ) base
  WHERE base.valid_to >= affected.since
  UNION ALL
  -- The log of the period that the batch covers.
  SELECT affected.subject_id, c.change_ts, c.seq, c.operation, c.payload, c.changed, NULL, NULL, NULL
  FROM affected
  CROSS JOIN LATERAL (
    SELECT *
    FROM change c
    WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = CAST(:kind AS text) AND c.subject_id = affected.subject_id
      AND c.change_ts BETWEEN affected.since AND affected.until AND affected.latest_ts >= affected.since
    OFFSET 0
  ) c
  UNION ALL
  -- The batch. As `seq`, the greatest bigint sorts a change after all recorded changes at its instant.
  SELECT subject_id, instant, 9223372036854775807, operation, payload, NULL, ordinal, NULL, NULL
  FROM ranked
  WHERE nth = 1 AND ordinal NOT IN (SELECT ordinal FROM contradictory)
),
folded AS (
  SELECT *, nullif(fold(operation, payload) OVER so_far, 'null') AS state,
    bool_or(operation IN ('SET', 'STUB')) OVER so_far AS has_begun
  FROM timeline
  WINDOW so_far AS (PARTITION BY subject_id ORDER BY change_ts, seq)
),
-- Each change beside the one before it.
compared AS (
  SELECT *, lag(state) OVER so_far AS state_before, max(created_at) OVER so_far AS created_before,
    lag(row_ctid) OVER so_far AS row_ctid_before, lag(changed) OVER so_far AS changed_before,
    lag(change_ts) OVER so_far = change_ts AS same_instant,
    lag(operation) OVER so_far = operation AND lag(payload) OVER so_far IS NOT DISTINCT FROM payload AS same_content
  FROM folded
  WINDOW so_far AS (PARTITION BY subject_id ORDER BY change_ts, seq)
),
judged AS (
  SELECT c.*, r.instant, r.now, affected.latest_ts, CASE
      WHEN r.instant > r.now + CAST(:tolerance AS interval) THEN 'FUTURE'
      WHEN c.same_instant AND c.same_content THEN 'REPLAYED'
      -- A stub may still be created: all that is known of it is that it exists.
      WHEN r.creating AND c.state_before IS NOT NULL AND EXISTS (
        SELECT
        FROM change l
        WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.kind = CAST(:kind AS text) AND l.subject_id = c.subject_id
          AND l.change_ts <= c.change_ts AND l.operation <> 'STUB'
      ) THEN 'ALREADY_EXISTS'
      WHEN c.operation = 'PATCH' AND c.state_before IS NULL THEN 'NOT_FOUND'
      WHEN c.operation = 'DELETE' AND NOT c.has_begun AND NOT EXISTS (
        SELECT
        FROM change l
        WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.kind = CAST(:kind AS text) AND l.subject_id = c.subject_id
          AND l.change_ts <= c.change_ts
      ) THEN 'NOT_FOUND'
      WHEN c.state IS NOT DISTINCT FROM c.state_before THEN 'UNCHANGED'
      WHEN affected.since = affected.until AND (affected.latest_ts IS NULL OR r.instant > affected.latest_ts) THEN 'IN_ORDER'
      ELSE 'OUT_OF_ORDER'
    END AS verdict
  FROM compared c
  JOIN ranked r ON r.ordinal = c.ordinal
  JOIN affected ON affected.subject_id = c.subject_id
),
-- The log gets the accepted changes, including those that change nothing.
appended AS (
  INSERT INTO change (tenant_id, kind, subject_id, operation, change_ts, payload, changed, recorded_at, actor, request_id)
  SELECT CAST(:tenant AS bigint), CAST(:kind AS text), subject_id, operation, instant, payload, verdict <> 'UNCHANGED', now,
    CAST(:actor AS text), CAST(:request_id AS text)
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
  SELECT CAST(:tenant AS bigint), j.subject_id, j.instant, CASE
      WHEN j.created_before IS NOT NULL THEN j.created_before
      WHEN j.latest_ts IS NOT NULL THEN (
        SELECT coalesce(min(v.created_at), j.instant)
        FROM {versions} v
        WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = j.subject_id
      )
      ELSE j.instant
    END, CAST(md5(CAST({values} AS text)) AS uuid), {after}
  FROM judged j
  CROSS JOIN LATERAL jsonb_populate_record(CAST(NULL AS {versions}), j.state) AS after
  -- Reading `closed` forces the UPDATE to run before this INSERT.
  WHERE j.verdict = 'IN_ORDER' AND j.operation <> 'DELETE' AND (SELECT count(*) FROM closed) >= 0
)
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
  coalesce(r.nth = 1 AND r.latest_ts IS NULL AND r.instant = j.first_accepted, false) AS created,
  -- False if the change only changed the state within a lifetime.
  coalesce(j.takes_effect AND (j.operation = 'DELETE' OR j.state_before IS NULL), false) AS changes_lifetime,
  r.latest_ts IS NULL AS is_new_subject,
  CASE WHEN CAST(:with_states AS boolean) AND j.verdict = 'IN_ORDER' THEN j.state END AS state,
  coalesce(j.created_before, CASE WHEN r.latest_ts IS NULL THEN r.instant END) AS created_at
FROM ranked r
LEFT JOIN (
  SELECT *, min(instant) FILTER (WHERE is_accepted) OVER (PARTITION BY subject_id) AS first_accepted
  FROM (
    SELECT *, verdict IN ('IN_ORDER', 'OUT_OF_ORDER') AS takes_effect, verdict IN ('UNCHANGED', 'IN_ORDER', 'OUT_OF_ORDER') AS is_accepted
    FROM judged
  ) verdicts
) j ON j.subject_id = r.subject_id AND j.instant = r.instant
ORDER BY r.ordinal

-- Hears a batch of assertions whose subjects the caller has locked, in the order of their instants. Judges each, appends what is
-- accepted to the log, and turns the page where a subject's only news is newer than all that is known of it. What is judged LATE is
-- appended, and left to refold.sql.
-- {versions} {subject} {columns} {values} {state} come from the kind; see db/temporal.py.
WITH incoming AS (
  SELECT i.ordinal, i.subject_id, i.operation, CAST(i.payload AS jsonb) AS payload, i.instant, i.creating
  FROM unnest(
    CAST(:subjects AS bigint[]), CAST(:operations AS text[]), CAST(:payloads AS text[]),
    CAST(:instants AS timestamptz[]), CAST(:creating AS boolean[])
  ) WITH ORDINALITY AS i (subject_id, operation, payload, instant, creating, ordinal)
),
-- when each is to hold: at the instant it names, else now, but after all that is known
timed AS (
  SELECT i.ordinal, i.subject_id, i.operation, i.payload, i.creating, clock.now, last.change_ts AS last_ts,
    coalesce(i.instant, greatest(clock.now, last.change_ts + interval '1 microsecond')) AS instant
  FROM incoming i
  CROSS JOIN (SELECT clock_timestamp() AS now) clock
  LEFT JOIN LATERAL (
    SELECT c.change_ts
    FROM change c
    WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = CAST(:kind AS text) AND c.subject_id = i.subject_id
    ORDER BY c.change_ts DESC, c.seq DESC
    LIMIT 1
  ) last ON true
),
-- a batch says one thing of a subject at one instant: the first is heard, and the others are like it or they contradict it
ranked AS (
  SELECT *, row_number() OVER at_once AS nth,
    operation = first_value(operation) OVER at_once AND payload IS NOT DISTINCT FROM first_value(payload) OVER at_once AS alike
  FROM timed
  WINDOW at_once AS (PARTITION BY subject_id, instant ORDER BY ordinal)
),
-- what one request says, it says once: another word of it for the same subject and instant is refused, and not heard at all
contested AS (
  SELECT r.ordinal, r.subject_id, r.instant
  FROM ranked r
  CROSS JOIN LATERAL (
    SELECT c.operation, c.payload, c.request_id
    FROM change c
    WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = CAST(:kind AS text) AND c.subject_id = r.subject_id
      AND c.change_ts = r.instant AND r.instant <= r.last_ts AND CAST(:reject_restatement AS boolean) AND r.nth = 1
    ORDER BY c.seq DESC
    LIMIT 1
  ) said
  WHERE said.request_id = CAST(:request_id AS text)
    AND NOT (said.operation = r.operation AND said.payload IS NOT DISTINCT FROM r.payload)
),
scope AS (
  SELECT subject_id, min(instant) AS since, max(instant) AS until, min(last_ts) AS last_ts, bool_or(operation = 'STUB') AS stubs
  FROM ranked
  GROUP BY subject_id
),
-- what held just before, what the log says of the time that the batch is about, and the batch
timeline AS (
  -- (what has ended before, a stub does not begin again)
  SELECT s.subject_id, CAST('-infinity' AS timestamptz) AS change_ts, CAST(0 AS bigint) AS seq, 'SET' AS operation,
    CAST('null' AS jsonb) AS payload, CAST(NULL AS boolean) AS changed, CAST(NULL AS bigint) AS ordinal,
    CAST(NULL AS timestamptz) AS created_at, CAST(NULL AS tid) AS place
  FROM scope s
  WHERE (s.stubs OR s.last_ts >= s.since) AND EXISTS (
    SELECT
    FROM change c
    WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = CAST(:kind AS text) AND c.subject_id = s.subject_id
      AND c.change_ts < s.since AND c.operation <> 'STUB'
  )
  UNION ALL
  SELECT s.subject_id, base.valid_from, 0, 'SET', base.state, NULL, NULL, base.created_at, base.place
  FROM scope s
  CROSS JOIN LATERAL (
    SELECT v.ctid AS place, v.valid_from, v.valid_to, v.created_at, {state} AS state
    FROM {versions} v
    WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = s.subject_id AND v.valid_from < s.since AND s.last_ts IS NOT NULL
    ORDER BY v.valid_from DESC
    LIMIT 1
  ) base
  WHERE base.valid_to >= s.since
  UNION ALL
  SELECT s.subject_id, c.change_ts, c.seq, c.operation, c.payload, c.changed, NULL, NULL, NULL
  FROM scope s
  CROSS JOIN LATERAL (
    SELECT *
    FROM change c
    WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = CAST(:kind AS text) AND c.subject_id = s.subject_id
      AND c.change_ts BETWEEN s.since AND s.until AND s.last_ts >= s.since
    OFFSET 0
  ) c
  UNION ALL
  SELECT subject_id, instant, 9223372036854775807, operation, payload, NULL, ordinal, NULL, NULL
  FROM ranked
  WHERE nth = 1 AND ordinal NOT IN (SELECT ordinal FROM contested)
),
folded AS (
  SELECT *, nullif(fold(operation, payload) OVER so_far, 'null') AS state, bool_or(operation IN ('SET', 'STUB')) OVER so_far AS begun
  FROM timeline
  WINDOW so_far AS (PARTITION BY subject_id ORDER BY change_ts, seq)
),
-- each beside what came before it
compared AS (
  SELECT *, lag(state) OVER so_far AS state_before, max(created_at) OVER so_far AS created_before,
    lag(place) OVER so_far AS place_before, lag(changed) OVER so_far AS changed_then,
    lag(change_ts) OVER so_far = change_ts AS again,
    lag(operation) OVER so_far = operation AND lag(payload) OVER so_far IS NOT DISTINCT FROM payload AS alike
  FROM folded
  WINDOW so_far AS (PARTITION BY subject_id ORDER BY change_ts, seq)
),
judged AS (
  SELECT c.*, r.instant, r.now, s.last_ts, CASE
      WHEN r.instant > r.now + CAST(:tolerance AS interval) THEN 'FUTURE'
      WHEN c.again AND c.alike THEN 'REPLAYED'
      -- what is known of a stub is only that it is there
      WHEN r.creating AND c.state_before IS NOT NULL AND EXISTS (
        SELECT
        FROM change l
        WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.kind = CAST(:kind AS text) AND l.subject_id = c.subject_id
          AND l.change_ts <= c.change_ts AND l.operation <> 'STUB'
      ) THEN 'ALREADY_EXISTS'
      WHEN c.operation = 'PATCH' AND c.state_before IS NULL THEN 'NOT_FOUND'
      WHEN c.operation = 'DELETE' AND NOT c.begun AND NOT EXISTS (
        SELECT
        FROM change l
        WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.kind = CAST(:kind AS text) AND l.subject_id = c.subject_id
          AND l.change_ts <= c.change_ts
      ) THEN 'NOT_FOUND'
      WHEN c.state IS NOT DISTINCT FROM c.state_before THEN 'UNCHANGED'
      WHEN s.since = s.until AND (s.last_ts IS NULL OR r.instant > s.last_ts) THEN 'IN_ORDER'
      ELSE 'OUT_OF_ORDER'
    END AS verdict
  FROM compared c
  JOIN ranked r ON r.ordinal = c.ordinal
  JOIN scope s ON s.subject_id = c.subject_id
),
appended AS (
  INSERT INTO change (tenant_id, kind, subject_id, operation, change_ts, payload, changed, recorded_at, actor, request_id)
  SELECT CAST(:tenant AS bigint), CAST(:kind AS text), subject_id, operation, instant, payload, verdict <> 'UNCHANGED', now, CAST(:actor AS text), CAST(:request_id AS text)
  FROM judged
  WHERE verdict IN ('UNCHANGED', 'IN_ORDER', 'OUT_OF_ORDER')
  ORDER BY instant, ordinal
),
closed AS (
  UPDATE {versions} v
  SET valid_to = j.instant
  FROM judged j
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.ctid = j.place_before AND j.verdict = 'IN_ORDER'
  RETURNING v.{subject}
),
opened AS (
  INSERT INTO {versions} (tenant_id, {subject}, valid_from, created_at, digest, {columns})
  SELECT CAST(:tenant AS bigint), j.subject_id, j.instant, CASE
      WHEN j.created_before IS NOT NULL THEN j.created_before
      WHEN j.last_ts IS NOT NULL THEN (
        SELECT coalesce(min(v.created_at), j.instant)
        FROM {versions} v
        WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = j.subject_id
      )
      ELSE j.instant
    END, CAST(md5(CAST({values} AS text)) AS uuid), {after}
  FROM judged j
  CROSS JOIN LATERAL jsonb_populate_record(CAST(NULL AS {versions}), j.state) AS after
  -- counting what was closed has the closing happen first
  WHERE j.verdict = 'IN_ORDER' AND j.operation <> 'DELETE' AND (SELECT count(*) FROM closed) >= 0
)
SELECT r.subject_id, r.instant, r.now, CASE
    WHEN r.nth = 1 THEN coalesce(j.verdict, 'CONTRADICTORY')
    WHEN j.verdict IS NULL OR NOT r.alike THEN 'CONTRADICTORY'
    WHEN j.verdict IN ('UNCHANGED', 'IN_ORDER', 'OUT_OF_ORDER') THEN 'REPLAYED'
    ELSE j.verdict
  END AS verdict,
  CASE j.verdict WHEN 'REPLAYED' THEN j.changed_then ELSE coalesce(j.verdict IN ('IN_ORDER', 'OUT_OF_ORDER'), false) END AS changed,
  coalesce(r.nth = 1 AND r.last_ts IS NULL AND r.instant = j.begun_at, false) AS created,
  -- whether it may have begun or ended a life of its subject; not so where it changed one
  coalesce(j.verdict IN ('IN_ORDER', 'OUT_OF_ORDER') AND (j.operation = 'DELETE' OR j.state_before IS NULL), false) AS changes_lifetime,
  r.last_ts IS NULL AS is_new_subject
FROM ranked r
LEFT JOIN (
  -- beside when the first that is accepted of a subject holds from
  SELECT *, min(instant) FILTER (WHERE verdict IN ('UNCHANGED', 'IN_ORDER', 'OUT_OF_ORDER')) OVER (PARTITION BY subject_id) AS begun_at
  FROM judged
) j ON j.subject_id = r.subject_id AND j.instant = r.instant
ORDER BY r.ordinal

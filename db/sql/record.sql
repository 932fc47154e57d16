-- Hears a batch of assertions, one a subject, whose locks the caller holds. Judges each, appends what is accepted to the log, and
-- turns the page of those that are newer than all that is known. Those judged LATE are appended, and left to refold.sql.
-- {versions} {subject} {columns} {values} {state} come from the kind; see db/temporal.py.
WITH incoming AS (
  SELECT *
  FROM unnest(
    CAST(:subjects AS bigint[]), CAST(:operations AS text[]), CAST(:payloads AS text[]),
    CAST(:instants AS timestamptz[]), CAST(:creating AS boolean[])
  ) WITH ORDINALITY AS i (subject_id, operation, payload, instant, creating, ordinal)
),
-- when each is to hold: at the instant it names, else now, but after all that is known
timed AS (
  SELECT i.ordinal, i.subject_id, i.operation, CAST(i.payload AS jsonb) AS payload, i.creating,
    clock.now, last.change_ts AS last_ts,
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
-- what holds at that instant before the assertion, and what the log said last at or before it
placed AS (
  SELECT t.*, v.digest AS digest_before, {state} AS state_before, v.valid_from IS NOT NULL AS lives,
    heard.change_ts IS NOT NULL AS lived,
    heard.change_ts = t.instant AND heard.operation = t.operation AND heard.payload IS NOT DISTINCT FROM t.payload AS replayed,
    heard.changed AS changed_then
  FROM timed t
  LEFT JOIN {versions} v
    ON v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = t.subject_id AND v.valid_from <= t.instant AND v.valid_to > t.instant
  LEFT JOIN LATERAL (
    SELECT c.change_ts, c.operation, c.payload, c.changed
    FROM change c
    WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = CAST(:kind AS text) AND c.subject_id = t.subject_id AND c.change_ts <= t.instant
    ORDER BY c.change_ts DESC, c.seq DESC
    LIMIT 1
  ) heard ON true
),
-- what holds at that instant after it, in the types of the table
applied AS (
  SELECT p.*, {columns}, CAST(md5(CAST({values} AS text)) AS uuid) AS digest_after
  FROM placed p
  CROSS JOIN LATERAL jsonb_populate_record(
    CAST(NULL AS {versions}), CASE p.operation WHEN 'SET' THEN p.payload WHEN 'PATCH' THEN p.state_before || p.payload END
  ) AS after
),
judged AS (
  SELECT a.*, CASE
      WHEN instant > now + CAST(:tolerance AS interval) THEN 'AHEAD'
      WHEN replayed THEN 'REPLAYED'
      WHEN creating AND lives THEN 'TAKEN'
      WHEN operation = 'PATCH' AND NOT lives OR operation = 'DELETE' AND NOT lived THEN 'MISSING'
      WHEN operation = 'DELETE' AND NOT lives OR operation <> 'DELETE' AND digest_after IS NOT DISTINCT FROM digest_before THEN 'SAME'
      WHEN last_ts IS NULL OR instant > last_ts THEN 'NEWER'
      ELSE 'LATE'
    END AS verdict
  FROM applied a
),
appended AS (
  INSERT INTO change (tenant_id, kind, subject_id, operation, change_ts, payload, changed, recorded_at, actor, request_id)
  SELECT CAST(:tenant AS bigint), CAST(:kind AS text), subject_id, operation, instant, payload, verdict <> 'SAME', now, CAST(:actor AS text), CAST(:request_id AS text)
  FROM judged
  WHERE verdict IN ('SAME', 'NEWER', 'LATE')
  ORDER BY ordinal
),
closed AS (
  UPDATE {versions} v
  SET valid_to = j.instant
  FROM judged j
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = j.subject_id AND v.valid_to = 'infinity' AND j.verdict = 'NEWER'
  RETURNING v.{subject}
),
opened AS (
  INSERT INTO {versions} (tenant_id, {subject}, valid_from, digest, {columns})
  SELECT CAST(:tenant AS bigint), subject_id, instant, digest_after, {columns}
  FROM judged
  -- counting what was closed has the closing happen first
  WHERE verdict = 'NEWER' AND operation <> 'DELETE' AND (SELECT count(*) FROM closed) >= 0
)
SELECT subject_id, instant, verdict, now, lives, CASE verdict WHEN 'REPLAYED' THEN changed_then ELSE verdict IN ('NEWER', 'LATE') END AS changed
FROM judged
ORDER BY ordinal

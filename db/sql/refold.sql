-- Makes the versions of some subjects anew from an instant on, after changes that came late. What stays as it was is not touched.
WITH scope AS (
  SELECT * FROM unnest(CAST(:subjects AS bigint[]), CAST(:instants AS timestamptz[])) AS s (subject_id, since)
),
standing AS (
  SELECT s.subject_id, s.since, v.valid_from, v.valid_to, v.digest, {state} AS state
  FROM scope s
  JOIN {versions} v ON v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = s.subject_id AND v.valid_to >= s.since
),
log AS (
  -- what held just before counts as a first SET
  SELECT subject_id, valid_from AS change_ts, CAST(0 AS bigint) AS seq, 'SET' AS operation, state AS payload
  FROM standing
  WHERE valid_from < since
  UNION ALL
  SELECT c.subject_id, c.change_ts, c.seq, c.operation, c.payload
  FROM scope s
  JOIN change c
    ON c.tenant_id = CAST(:tenant AS bigint) AND c.kind = CAST(:kind AS text) AND c.subject_id = s.subject_id AND c.change_ts >= s.since
),
{fold},
gone AS (
  DELETE FROM {versions} v
  USING standing s
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = s.subject_id AND v.valid_from = s.valid_from
    AND NOT EXISTS (
      SELECT FROM target t WHERE t.subject_id = s.subject_id AND t.valid_from = s.valid_from AND t.digest = s.digest
    )
  RETURNING v.{subject}
),
-- counting orders the steps: first room is made, then bounds move, then the new rows come
moved AS (
  UPDATE {versions} v
  SET valid_to = t.valid_to
  FROM target t
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = t.subject_id AND v.valid_from = t.valid_from AND v.digest = t.digest
    AND v.valid_to <> t.valid_to AND (SELECT count(*) FROM gone) >= 0
  RETURNING v.{subject}
)
INSERT INTO {versions} (tenant_id, {subject}, valid_from, valid_to, digest, {columns})
SELECT CAST(:tenant AS bigint), t.subject_id, t.valid_from, t.valid_to, t.digest, {columns}
FROM target t
WHERE NOT EXISTS (
    SELECT FROM standing s WHERE s.subject_id = t.subject_id AND s.valid_from = t.valid_from AND s.digest = t.digest
  )
  AND (SELECT count(*) FROM moved) >= 0

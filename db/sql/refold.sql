-- Makes the versions of some subjects anew from an instant on, after changes that came late. What stays as it was is not touched.
WITH scope AS (
  SELECT * FROM unnest(CAST(:subjects AS bigint[]), CAST(:instants AS timestamptz[])) AS s (subject_id, since)
),
standing AS (
  SELECT s.subject_id, s.since, v.ctid AS place, v.valid_from, v.valid_to, v.digest, {state} AS state
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
-- a full join is never done by nested loops, which a planner without statistics takes: quadratic in a subject's versions
paired AS MATERIALIZED (
  SELECT s.place, s.valid_to AS stands_to, t.*
  FROM standing s
  FULL JOIN target t ON t.subject_id = s.subject_id AND t.valid_from = s.valid_from AND t.digest = s.digest
),
gone AS (
  DELETE FROM {versions} v
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.ctid = ANY (ARRAY(SELECT place FROM paired WHERE subject_id IS NULL))
  RETURNING v.{subject}
),
-- counting orders the steps: first room is made, then bounds move, then the new rows come
moved AS (
  UPDATE {versions} v
  SET valid_to = p.valid_to
  FROM paired p
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.ctid = p.place AND p.stands_to <> p.valid_to AND (SELECT count(*) FROM gone) >= 0
  RETURNING v.{subject}
)
INSERT INTO {versions} (tenant_id, {subject}, valid_from, valid_to, digest, {columns})
SELECT CAST(:tenant AS bigint), p.subject_id, p.valid_from, p.valid_to, p.digest, {columns}
FROM paired p
WHERE p.place IS NULL AND (SELECT count(*) FROM moved) >= 0

-- Makes the versions of some subjects anew from an instant on, after changes that came late. What stays as it was is not touched.
WITH scope AS (
  SELECT * FROM unnest(CAST(:subjects AS bigint[]), CAST(:instants AS timestamptz[])) AS s (subject_id, since)
),
-- what held last before; it says since when the subject has been there. (Lookups by subject, which no statistics turn into a scan.)
before AS (
  SELECT s.subject_id, s.since, v.*
  FROM scope s
  CROSS JOIN LATERAL (
    SELECT v.ctid AS place, v.valid_from, v.valid_to, v.created_at, v.digest, {state} AS state
    FROM {versions} v
    WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = s.subject_id AND v.valid_from < s.since
    ORDER BY v.valid_from DESC
    LIMIT 1
  ) v
),
standing AS (
  SELECT *
  FROM before
  WHERE valid_to >= since
  UNION ALL
  SELECT s.subject_id, s.since, v.*
  FROM scope s
  CROSS JOIN LATERAL (
    SELECT v.ctid AS place, v.valid_from, v.valid_to, v.created_at, v.digest, {state} AS state
    FROM {versions} v
    WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = s.subject_id AND v.valid_from >= s.since
    OFFSET 0
  ) v
),
log AS (
  -- what has ended before, a stub does not begin again
  SELECT s.subject_id, CAST('-infinity' AS timestamptz) AS change_ts, CAST(0 AS bigint) AS seq, 'SET' AS operation,
    CAST('null' AS jsonb) AS payload
  FROM scope s
  WHERE EXISTS (
    SELECT
    FROM change c
    WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = CAST(:kind AS text) AND c.subject_id = s.subject_id
      AND c.change_ts < s.since AND c.operation <> 'STUB'
  )
  UNION ALL
  -- what held just before counts as a first SET
  SELECT subject_id, valid_from, 0, 'SET', state
  FROM standing
  WHERE valid_from < since
  UNION ALL
  SELECT c.subject_id, c.change_ts, c.seq, c.operation, c.payload
  FROM scope s
  CROSS JOIN LATERAL (
    SELECT *
    FROM change c
    WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = CAST(:kind AS text) AND c.subject_id = s.subject_id
      AND c.change_ts >= s.since
    OFFSET 0
  ) c
),
{include _fold},
dated AS (
  SELECT t.subject_id, t.valid_from, t.valid_to, coalesce(b.created_at, t.created_at) AS created_at, t.digest, {columns}
  FROM target t
  LEFT JOIN before b ON b.subject_id = t.subject_id
),
-- what is on both sides stays. (A full join is never done by nested loops, which a planner without statistics takes: quadratic in a
-- subject's versions.)
paired AS MATERIALIZED (
  SELECT s.place, d.*
  FROM standing s
  FULL JOIN dated d
    ON d.subject_id = s.subject_id AND d.valid_from = s.valid_from AND d.valid_to = s.valid_to
    AND d.created_at = s.created_at AND d.digest = s.digest
),
gone AS (
  DELETE FROM {versions} v
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.ctid = ANY (ARRAY(SELECT place FROM paired WHERE subject_id IS NULL))
  RETURNING v.{subject}
)
INSERT INTO {versions} (tenant_id, {subject}, valid_from, valid_to, created_at, digest, {columns})
SELECT CAST(:tenant AS bigint), p.subject_id, p.valid_from, p.valid_to, p.created_at, p.digest, {columns}
FROM paired p
-- counting what is gone has room made first
WHERE p.place IS NULL AND (SELECT count(*) FROM gone) >= 0

-- Rebuild the versions of some subjects from an instant on, after changes that arrived out of order (late changes, for
-- instance). Rows that are right already are kept.
-- Parameters: :kind; :subjects ids; :instants, one for each.
-- Tokens: {versions}, {subject}, {columns}, {values}, {state} of the kind.
-- Used by: db.temporal.change_log.append_changes
WITH affected (subject_id, since) AS (
  SELECT * FROM unnest(CAST(:subjects AS bigint[]), CAST(:instants AS timestamptz[]))
),
-- The last version before the instant, which has the creation of the subject. (LATERAL with LIMIT or OFFSET 0: look-ups by
-- subject, which a planner with outdated statistics would turn into scans.)
before AS (
  SELECT affected.subject_id, affected.since, v.*
  FROM affected
  CROSS JOIN LATERAL (
    SELECT v.ctid AS row_ctid, v.valid_from, v.valid_to, v.created_at, v.digest, {state} AS state
    FROM {versions} v
    WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = affected.subject_id AND v.valid_from < affected.since
    ORDER BY v.valid_from DESC
    LIMIT 1
  ) v
),
-- The versions to compare with. A version that ends exactly at `since` is one of them (hence >= and not >): the change that
-- ended it is folded again, and the version may now last longer.
existing AS (
  SELECT *
  FROM before
  WHERE valid_to >= since
  UNION ALL
  SELECT affected.subject_id, affected.since, v.*
  FROM affected
  CROSS JOIN LATERAL (
    SELECT v.ctid AS row_ctid, v.valid_from, v.valid_to, v.created_at, v.digest, {state} AS state
    FROM {versions} v
    WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = affected.subject_id AND v.valid_from >= affected.since
    OFFSET 0
  ) v
),
log AS (
  -- Sentinel for the log before `since`: JSON null means that the subject existed and ended, SQL NULL that it never existed;
  -- only then does a STUB begin a state.
  SELECT affected.subject_id, CAST('-infinity' AS timestamptz) AS change_ts, CAST(0 AS bigint) AS seq, 'SET' AS operation,
    CAST('null' AS jsonb) AS payload
  FROM affected
  WHERE EXISTS (
    SELECT
    FROM change c
    WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = CAST(:kind AS text) AND c.subject_id = affected.subject_id
      AND c.change_ts < affected.since AND c.operation <> 'STUB'
  )
  UNION ALL
  -- The version that was valid just before counts as a first SET.
  SELECT subject_id, valid_from, 0, 'SET', state
  FROM existing
  WHERE valid_from < since
  UNION ALL
  SELECT c.subject_id, c.change_ts, c.seq, c.operation, c.payload
  FROM affected
  CROSS JOIN LATERAL (
    SELECT *
    FROM change c
    WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = CAST(:kind AS text) AND c.subject_id = affected.subject_id
      AND c.change_ts >= affected.since
    OFFSET 0
  ) c
),
{include _fold},
-- The folded log begins at the instant, so the creation comes from the version before it.
desired AS (
  SELECT t.subject_id, t.valid_from, t.valid_to, coalesce(b.created_at, t.created_at) AS created_at, t.digest, {columns}
  FROM target t
  LEFT JOIN before b ON b.subject_id = t.subject_id
),
-- Pairs rows that are equal on both sides. (PostgreSQL never executes a full join by nested loops, which it would choose for
-- an inner join without statistics: quadratic in the versions of a subject.)
paired AS MATERIALIZED (
  SELECT e.row_ctid, d.*
  FROM existing e
  FULL JOIN desired d
    ON d.subject_id = e.subject_id AND d.valid_from = e.valid_from AND d.valid_to = e.valid_to
    AND d.created_at = e.created_at AND d.digest = e.digest
),
deleted AS (
  DELETE FROM {versions} v
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.ctid = ANY (ARRAY(SELECT row_ctid FROM paired WHERE subject_id IS NULL))
  RETURNING v.{subject}
)
INSERT INTO {versions} (tenant_id, {subject}, valid_from, valid_to, created_at, digest, {columns})
SELECT CAST(:tenant AS bigint), p.subject_id, p.valid_from, p.valid_to, p.created_at, p.digest, {columns}
FROM paired p
-- Reading `deleted` forces the DELETE to run before this INSERT.
WHERE p.row_ctid IS NULL AND (SELECT count(*) FROM deleted) >= 0

-- Replace the effective rows of associations that end at `since` or later by what their versions and lifetimes imply. Equal
-- rows stay.
-- Expects: CTE affected (subject_id, since) at the end of a WITH list. Provides: the rest of the statement.
-- Tokens: {effective}, {effective_columns} and those of _clipped_periods, of the association kind.
{include _clipped_periods},
existing AS (
  SELECT e.*
  FROM affected
  CROSS JOIN LATERAL (
    SELECT e.ctid AS row_ctid, e.{subject}, e.valid_from, e.valid_to, e.digest
    FROM {effective} e
    WHERE e.tenant_id = CAST(:tenant AS bigint) AND e.{subject} = affected.subject_id AND e.valid_to >= affected.since
    OFFSET 0
  ) e
),
paired AS MATERIALIZED (
  SELECT e.row_ctid, t.*
  FROM existing e
  FULL JOIN target t
    ON t.{subject} = e.{subject} AND t.valid_from = e.valid_from AND t.valid_to = e.valid_to AND t.digest = e.digest
),
deleted AS (
  DELETE FROM {effective} e
  WHERE e.tenant_id = CAST(:tenant AS bigint) AND e.ctid = ANY (ARRAY(SELECT row_ctid FROM paired WHERE {subject} IS NULL))
  RETURNING e.{subject}
)
INSERT INTO {effective} (tenant_id, {subject}, valid_from, valid_to, digest, {effective_columns})
SELECT CAST(:tenant AS bigint), {subject}, valid_from, valid_to, digest, {effective_columns}
FROM paired
-- Reading `deleted` forces the DELETE to run before this INSERT.
WHERE row_ctid IS NULL AND (SELECT count(*) FROM deleted) >= 0

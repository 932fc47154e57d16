{include _clipped_periods},
standing AS (
  SELECT d.*
  FROM scope s
  CROSS JOIN LATERAL (
    SELECT d.ctid AS place, d.{subject}, d.valid_from, d.valid_to, d.digest
    FROM {effective} d
    WHERE d.tenant_id = CAST(:tenant AS bigint) AND d.{subject} = s.subject_id AND d.valid_to >= s.since
    OFFSET 0
  ) d
),
-- what is on both sides stays
paired AS MATERIALIZED (
  SELECT s.place, t.*
  FROM standing s
  FULL JOIN target t
    ON t.{subject} = s.{subject} AND t.valid_from = s.valid_from AND t.valid_to = s.valid_to AND t.digest = s.digest
),
gone AS (
  DELETE FROM {effective} d
  WHERE d.tenant_id = CAST(:tenant AS bigint) AND d.ctid = ANY (ARRAY(SELECT place FROM paired WHERE {subject} IS NULL))
  RETURNING d.{subject}
)
INSERT INTO {effective} (tenant_id, {subject}, valid_from, valid_to, digest, {effective_columns})
SELECT CAST(:tenant AS bigint), {subject}, valid_from, valid_to, digest, {effective_columns}
FROM paired
-- counting what is gone has room made first
WHERE place IS NULL AND (SELECT count(*) FROM gone) >= 0

-- Fold a change log into versions. fold() is the aggregate over next_state(), which defines the state after one more change:
-- see migrations 0002 and 0005.
-- Expects: CTE log (subject_id, change_ts, seq, operation, payload). Provides: CTE target (subject_id, valid_from, valid_to,
--   created_at, digest and the fields of the kind), the versions that the log implies.
-- Tokens: {versions}, {columns}, {values} of the kind.
folded AS (
  SELECT subject_id, change_ts, seq,
    nullif(fold(operation, payload) OVER (PARTITION BY subject_id ORDER BY change_ts, seq), 'null') AS state
  FROM log
),
-- Of several changes at one instant, only the state after the last one was ever valid.
settled AS (
  SELECT DISTINCT ON (subject_id, change_ts) *
  FROM folded
  ORDER BY subject_id, change_ts, seq DESC
),
typed AS (
  SELECT s.subject_id, s.change_ts, {columns}, CASE WHEN s.state IS NOT NULL THEN CAST(md5(CAST({values} AS text)) AS uuid) END AS digest
  FROM settled s
  CROSS JOIN LATERAL jsonb_populate_record(CAST(NULL AS {versions}), s.state) AS after
),
-- Adjacent periods with the same state are one version.
compared AS (
  SELECT *, lag(digest) OVER (PARTITION BY subject_id ORDER BY change_ts) AS digest_before
  FROM typed
),
version_periods AS (
  SELECT *, change_ts AS valid_from, lead(change_ts, 1, 'infinity') OVER (PARTITION BY subject_id ORDER BY change_ts) AS valid_to
  FROM compared
  WHERE digest IS DISTINCT FROM digest_before
),
target AS (
  SELECT subject_id, valid_from, valid_to, min(valid_from) OVER (PARTITION BY subject_id) AS created_at, digest, {columns}
  FROM version_periods
  WHERE digest IS NOT NULL
)

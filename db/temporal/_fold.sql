-- The meaning of the log: `log` (subject_id, change_ts, seq, operation, payload) becomes `target`, the versions it adds up to.
folded AS (
  SELECT subject_id, change_ts, seq,
    nullif(fold(operation, payload) OVER (PARTITION BY subject_id ORDER BY change_ts, seq), 'null') AS state
  FROM log
),
-- of several changes at one instant, only what they end in ever held
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
-- neighbours that are alike are one version
compared AS (
  SELECT *, lag(digest) OVER (PARTITION BY subject_id ORDER BY change_ts) AS digest_before
  FROM typed
),
stretches AS (
  SELECT *, change_ts AS valid_from, lead(change_ts, 1, 'infinity') OVER (PARTITION BY subject_id ORDER BY change_ts) AS valid_to
  FROM compared
  WHERE digest IS DISTINCT FROM digest_before
),
target AS (
  SELECT subject_id, valid_from, valid_to, min(valid_from) OVER (PARTITION BY subject_id) AS created_at, digest, {columns}
  FROM stretches
  WHERE digest IS NOT NULL
)

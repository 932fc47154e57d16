-- FROM clause of the log entry `c` that made an association effective at an instant: the last that changed its state, if an
-- asserted version begins at that instant, else the entry that began the lifetime of an end.
-- Expects a row `candidate` (at, subject_id). Tokens: {kind}, {versions}, {identities}, {subject}, {near}, {far} of the
--   association kind.
  FROM (
    SELECT '{kind}' AS kind, v.{subject} AS subject_id
    FROM {versions} v
    WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = candidate.subject_id AND v.valid_from = candidate.at
    UNION ALL
    SELECT a.kind, a.id
    FROM {identities} i
    JOIN asset_lifetime l ON l.tenant_id = CAST(:tenant AS bigint) AND l.asset_id IN (i.{near}, i.{far}) AND l.valid_from = candidate.at
    JOIN asset a ON a.tenant_id = CAST(:tenant AS bigint) AND a.id = l.asset_id
    WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.id = candidate.subject_id
  ) began
  CROSS JOIN LATERAL (
    SELECT c.recorded_at, c.actor, c.credential, c.changed, c.seq
    FROM change c
    WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = began.kind AND c.subject_id = began.subject_id AND c.change_ts = candidate.at
    OFFSET 0
  ) c
  ORDER BY began.kind = '{kind}' DESC, c.changed DESC, c.seq DESC
  LIMIT 1

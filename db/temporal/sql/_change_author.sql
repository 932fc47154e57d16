-- FROM clause of the log entry `c` that caused a change: of all entries of the asset at that instant, the last that changed
-- its state.
-- Expects a row `candidate` (at, subject_id). Token: {kind}.
  FROM change c
  WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = '{kind}' AND c.subject_id = candidate.subject_id AND c.change_ts = candidate.at
  ORDER BY c.changed DESC, c.seq DESC
  LIMIT 1

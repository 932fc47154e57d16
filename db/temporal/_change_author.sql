-- of all that was said of an asset at an instant, the last that changed anything made the change
  FROM change c
  WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = '{kind}' AND c.subject_id = found.subject_id AND c.change_ts = found.at
  ORDER BY c.changed DESC, c.seq DESC
  LIMIT 1

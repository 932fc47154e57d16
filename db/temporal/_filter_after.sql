  -- a page that begins further on
  AND found.subject_id > CAST(:after AS bigint)

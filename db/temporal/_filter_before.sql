  -- a page that ends before the end
  AND found.subject_id < CAST(:before AS bigint)

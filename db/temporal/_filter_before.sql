-- Filter on rows `candidate` (subject_id) before the cursor :before.
  AND candidate.subject_id < CAST(:before AS bigint)

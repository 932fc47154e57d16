-- Filter on rows `candidate` (subject_id) after the cursor :after.
  AND candidate.subject_id > CAST(:after AS bigint)

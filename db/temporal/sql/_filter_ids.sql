-- Filter on rows `candidate` (subject_id) of some subjects.
-- Expects a parameter with their ids. Token: {ids}, the parameter.
  AND candidate.subject_id = ANY (CAST({ids} AS bigint[]))

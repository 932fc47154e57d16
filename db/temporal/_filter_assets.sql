-- Filter on rows `candidate` (subject_id) of some assets.
-- Expects :assets, their ids.
  AND candidate.subject_id = ANY (CAST(:assets AS bigint[]))

-- Filter on rows `candidate` (subject_id) of some assets. An array rather than a join, so that the primary key of the
-- versions serves it.
-- Expects :assets, their uids.
  AND candidate.subject_id = ANY (ARRAY(
    SELECT a.id
    FROM asset a
    WHERE a.tenant_id = CAST(:tenant AS bigint) AND a.uid = ANY (CAST(:assets AS uuid[]))
  ))

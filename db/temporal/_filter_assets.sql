  -- of any of these assets; as an array, so that the key of the versions serves it
  AND found.subject_id = ANY (ARRAY(
    SELECT a.id
    FROM asset a
    WHERE a.tenant_id = CAST(:tenant AS bigint) AND a.uid = ANY (CAST(:assets AS uuid[]))
  ))

-- Filter on rows `candidate` (subject_id) of the associations that have one of some assets at an end. An array rather than a join,
-- so that the primary key of the periods serves it.
-- Expects :assets, their ids. Tokens: {identities}, {near}, {far} of the association kind.
  AND candidate.subject_id = ANY (ARRAY(
    SELECT i.id FROM {identities} i WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.{near} = ANY (CAST(:assets AS bigint[]))
    UNION ALL
    SELECT i.id FROM {identities} i WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.{far} = ANY (CAST(:assets AS bigint[]))
  ))

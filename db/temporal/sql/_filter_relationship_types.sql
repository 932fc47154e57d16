-- Filter on relationships of some types.
-- Expects a row `candidate` (subject_id) and :relationship_types, their ids.
  AND EXISTS (
    SELECT
    FROM relationship i
    WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.id = candidate.subject_id
      AND i.type_id = ANY (CAST(:relationship_types AS bigint[]))
  )

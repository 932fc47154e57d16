-- Filter on entities of some types.
-- Expects a row `candidate` (subject_id) and :entity_types, their codes.
  AND EXISTS (
    SELECT
    FROM asset a
    WHERE a.tenant_id = CAST(:tenant AS bigint) AND a.id = candidate.subject_id AND a.type = ANY (CAST(:entity_types AS text[]))
  )

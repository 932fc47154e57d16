-- Filter on lineage links that have one of some types at an instant that is compared.
-- Expects a row `candidate` (subject_id) and :link_types. Token: {valid}, the condition that a row `v` is valid at such an instant.
  AND EXISTS (
    SELECT
    FROM lineage_link_effective v
    WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.link_id = candidate.subject_id AND ({valid})
      AND v.type = ANY (CAST(:link_types AS text[]))
  )

-- Filter on the kinds of changes that begin a version. The version before is looked up only to distinguish an update from a
-- restoration.
-- Expects a row `candidate` (at, subject_id, created_at) and :kinds. Tokens: {periods}, {subject}.
  AND CASE
    WHEN candidate.created_at = candidate.at THEN 'CREATED' = ANY (CAST(:kinds AS text[]))
    WHEN CAST(:kinds AS text[]) @> ARRAY['UPDATED', 'RESTORED'] THEN true
    WHEN NOT CAST(:kinds AS text[]) && ARRAY['UPDATED', 'RESTORED'] THEN false
    WHEN candidate.at = (
      SELECT p.valid_to
      FROM {periods} p
      WHERE p.tenant_id = CAST(:tenant AS bigint) AND p.{subject} = candidate.subject_id AND p.valid_from < candidate.at
      ORDER BY p.valid_from DESC
      LIMIT 1
    ) THEN 'UPDATED' = ANY (CAST(:kinds AS text[]))
    ELSE 'RESTORED' = ANY (CAST(:kinds AS text[]))
  END

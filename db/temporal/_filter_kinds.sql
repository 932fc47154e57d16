  -- only to tell an update from a restoration, it has to be looked up what was just before
  AND CASE
    WHEN found.created_at = found.at THEN 'CREATED' = ANY (CAST(:kinds AS text[]))
    WHEN CAST(:kinds AS text[]) @> ARRAY['UPDATED', 'RESTORED'] THEN true
    WHEN NOT CAST(:kinds AS text[]) && ARRAY['UPDATED', 'RESTORED'] THEN false
    WHEN found.at = (
      SELECT p.valid_to
      FROM {versions} p
      WHERE p.tenant_id = CAST(:tenant AS bigint) AND p.{subject} = found.subject_id AND p.valid_from < found.at
      ORDER BY p.valid_from DESC
      LIMIT 1
    ) THEN 'UPDATED' = ANY (CAST(:kinds AS text[]))
    ELSE 'RESTORED' = ANY (CAST(:kinds AS text[]))
  END

-- Lets one writer at a time change a link. Always in order of id, so that two batches cannot wait for each other.
SELECT id, source_id, target_id, producer
FROM link
WHERE tenant_id = CAST(:tenant AS bigint) AND id = ANY (ARRAY(
  SELECT l.id
  FROM unnest(CAST(:sources AS bigint[]), CAST(:targets AS bigint[]), CAST(:producers AS text[])) AS n (source_id, target_id, producer)
  CROSS JOIN LATERAL (
    SELECT l.id
    FROM link l
    WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.source_id = n.source_id AND l.target_id = n.target_id
      AND l.producer IS NOT DISTINCT FROM n.producer
    OFFSET 0
  ) l
))
ORDER BY id
FOR NO KEY UPDATE

-- Gives links their identities, always in order of their ends, so that two batches cannot wait for each other. Those that are there
-- already have no row.
INSERT INTO link (tenant_id, uid, source_id, target_id, producer)
SELECT CAST(:tenant AS bigint), uid, source_id, target_id, producer
FROM unnest(
  CAST(:uids AS uuid[]), CAST(:sources AS bigint[]), CAST(:targets AS bigint[]), CAST(:producers AS text[])
) AS n (uid, source_id, target_id, producer)
ORDER BY source_id, target_id, producer
ON CONFLICT DO NOTHING
RETURNING id, source_id, target_id, producer

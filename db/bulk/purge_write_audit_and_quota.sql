-- Counts what a transaction has removed, and tells who had it removed. It is the last that the transaction says, in the order of
-- conclude.sql, so that nobody waits long for the count.
WITH told AS (
  INSERT INTO audit (tenant_id, at, actor, credential, operator, operation, outcome, request_id)
  SELECT CAST(:tenant AS bigint), clock_timestamp(), CAST(:actor AS text), CAST(:credential AS text), CAST(:operator AS boolean),
    CAST(:operation AS text), CAST(:outcome AS text), CAST(:request_id AS text)
)
INSERT INTO quota (tenant_id, kind, used)
SELECT CAST(:tenant AS bigint), kind, 0
FROM unnest(CAST(:kinds AS text[])) AS n (kind)
ORDER BY kind
ON CONFLICT (tenant_id, kind) DO UPDATE SET used = quota.used - (
  SELECT n.removed
  FROM unnest(CAST(:kinds AS text[]), CAST(:removed AS bigint[])) AS n (kind, removed)
  WHERE n.kind = quota.kind
)

-- Counts the identities that a transaction gave, and tells who wrote. It is the last that the transaction says, so that nobody waits
-- long for the count. A row: more of a kind than the tenant may have.
WITH told AS (
  INSERT INTO audit (tenant_id, at, actor, credential, operator, operation, outcome, request_id)
  SELECT CAST(:tenant AS bigint), clock_timestamp(), CAST(:actor AS text), CAST(:credential AS text), CAST(:operator AS boolean),
    CAST(:operation AS text), CAST(:outcome AS text), CAST(:request_id AS text)
),
counted AS (
  INSERT INTO quota (tenant_id, kind, used)
  SELECT CAST(:tenant AS bigint), kind, added
  FROM unnest(CAST(:kinds AS text[]), CAST(:added AS bigint[])) AS n (kind, added)
  ORDER BY kind
  ON CONFLICT (tenant_id, kind) DO UPDATE SET used = quota.used + excluded.used
  RETURNING kind, used, allowed
)
SELECT kind, used, allowed
FROM counted
WHERE used > allowed
ORDER BY kind

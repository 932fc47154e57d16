-- Append an audit entry, unless :outcome is NULL.
-- Parameters: :actor, :credential, :operator, :operation, :outcome and :request_id of the entry.
-- Tokens: {audited_rows}, one row if the entry is to be appended.
-- Used by: tenancy/write_audit_and_quota.sql, temporal/append_changes.sql, temporal/append_in_order.sql
audited AS (
  INSERT INTO audit (tenant_id, at, actor, credential, operator, operation, outcome, request_id)
  SELECT CAST(:tenant AS bigint), clock_timestamp(), CAST(:actor AS text), CAST(:credential AS text), CAST(:operator AS boolean),
    CAST(:operation AS text), CAST(:outcome AS text), CAST(:request_id AS text)
  FROM {audited_rows}
  WHERE CAST(:outcome AS text) IS NOT NULL
)

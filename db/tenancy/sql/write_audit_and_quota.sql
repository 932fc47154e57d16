-- Append an audit entry, unless the transaction has one, and add to the number of identities in use. Return the kinds whose
-- number now exceeds the quota. It is the last statement of a transaction, so that the locks on the quota rows, taken in order
-- of kind, are held for a moment only.
-- Parameters: those of tenancy/_audit.sql; :kinds and :used, how many identities of each kind were added, or removed if
--   negative.
-- Used by: db.connection.WriteConnection.write_audit_and_quota, db.bulk.purge, db.tenancy.audit.record_owner_write
WITH {include tenancy/_audit},
counted AS (
  INSERT INTO quota (tenant_id, kind, used)
  SELECT CAST(:tenant AS bigint), kind, greatest(used, 0)
  FROM unnest(CAST(:kinds AS text[]), CAST(:used AS bigint[])) AS n (kind, used)
  ORDER BY kind
  -- Not `excluded.used`: the row that is proposed for insertion cannot hold a negative number.
  ON CONFLICT (tenant_id, kind) DO UPDATE SET used = quota.used + (
    SELECT n.used
    FROM unnest(CAST(:kinds AS text[]), CAST(:used AS bigint[])) AS n (kind, used)
    WHERE n.kind = quota.kind
  )
  RETURNING kind, used, allowed
)
SELECT kind, used, allowed
FROM counted
WHERE used > allowed
ORDER BY kind

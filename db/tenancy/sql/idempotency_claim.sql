-- Claim an idempotency key for this transaction. Insert no row if a committed request has used the key. If another
-- transaction holds it, wait until that one ends.
-- Parameters: :key of the request; :digest of its content.
-- Used by: db.tenancy.idempotency.run_once
INSERT INTO idempotency_key (tenant_id, key, digest)
VALUES (CAST(:tenant AS bigint), CAST(:key AS text), CAST(:digest AS uuid))
ON CONFLICT (tenant_id, key) DO NOTHING

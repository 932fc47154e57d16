-- Read the digest and the outcome of the request that used an idempotency key.
-- Parameters: :key of the request.
-- Used by: db.tenancy.idempotency.run_once
SELECT digest, subject_id, uid, change_ts, changed
FROM idempotency_key
WHERE tenant_id = CAST(:tenant AS bigint) AND key = CAST(:key AS text)

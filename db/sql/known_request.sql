-- What became of the request that bore this idempotency key.
SELECT subject_id, change_ts, changed, request_digest
FROM change
WHERE tenant_id = CAST(:tenant AS bigint) AND idempotency_key = CAST(:key AS text)

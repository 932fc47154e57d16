-- What the request with this key asked for, and what it was answered.
SELECT digest, subject_id, change_ts, changed
FROM idempotency_key
WHERE tenant_id = CAST(:tenant AS bigint) AND key = CAST(:key AS text)

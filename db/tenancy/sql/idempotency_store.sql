-- Store the outcome of a request beside its idempotency key, in the transaction that wrote.
-- Parameters: :key of the request; :digest of its content; :subject, :uid, :instant and :changed of its outcome.
-- Used by: db.tenancy.idempotency.run_once
UPDATE idempotency_key
SET subject_id = CAST(:subject AS bigint), uid = CAST(:uid AS uuid), change_ts = CAST(:instant AS timestamptz),
  changed = CAST(:changed AS boolean)
WHERE tenant_id = CAST(:tenant AS bigint) AND key = CAST(:key AS text) AND digest = CAST(:digest AS uuid)

-- Keeps what a request was answered, in the transaction that did it.
UPDATE idempotency_key
SET subject_id = CAST(:subject AS bigint), change_ts = CAST(:instant AS timestamptz), changed = CAST(:changed AS boolean)
WHERE tenant_id = CAST(:tenant AS bigint) AND key = CAST(:key AS text) AND digest = CAST(:digest AS uuid)

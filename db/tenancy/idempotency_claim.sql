-- Claims an idempotency key. No row: it is taken, by a request that has been answered; one under way is waited for.
INSERT INTO idempotency_key (tenant_id, key, digest)
VALUES (CAST(:tenant AS bigint), CAST(:key AS text), CAST(:digest AS uuid))
ON CONFLICT (tenant_id, key) DO NOTHING

-- Lets one request with this idempotency key go on at a time, so that the next finds what it was answered.
SELECT pg_advisory_xact_lock(hashtextextended(CAST(:key AS text), CAST(:tenant AS bigint))) AS tenant_id

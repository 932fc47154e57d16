-- Count the versions of a kind.
-- Tokens: {versions} of the kind.
-- Used by: db.temporal.verification.verify_tenant
SELECT count(*) AS versions
FROM {versions} v
WHERE v.tenant_id = CAST(:tenant AS bigint)

-- Count the entries of the change log of a tenant.
-- Used by: db.temporal.verification.verify_tenant
SELECT count(*) AS changes
FROM change
WHERE tenant_id = CAST(:tenant AS bigint)

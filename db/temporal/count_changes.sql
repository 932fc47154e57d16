-- How much the log of a tenant holds.
SELECT count(*) AS changes
FROM change
WHERE tenant_id = CAST(:tenant AS bigint)

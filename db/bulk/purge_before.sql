-- Up to when a tenant may have had something end for it to be removed for good; null: it keeps everything. (Nothing was written down
-- as long ago as the longest of retentions, which keeps the instant within a calendar.)
SELECT CASE WHEN retention_days IS NOT NULL THEN clock_timestamp() - least(retention_days, 700000) * interval '24 hours' END AS before
FROM tenant
WHERE tenant_id = CAST(:tenant AS bigint)

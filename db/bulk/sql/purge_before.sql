-- Return the instant before which an asset has to be deleted to be removed; null if the tenant has no retention. (700000
-- days are longer than anything was recorded, and keep the instant within the calendar.)
-- Used by: db.bulk.purge._PurgeTransaction.begin
SELECT CASE WHEN retention_days IS NOT NULL THEN clock_timestamp() - least(retention_days, 700000) * interval '24 hours' END AS before
FROM tenant
WHERE tenant_id = CAST(:tenant AS bigint)

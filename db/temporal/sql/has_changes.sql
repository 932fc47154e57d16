-- Return whether the change log of a tenant has an entry.
-- Used by: db.temporal.change_log.has_changes
SELECT EXISTS (SELECT FROM change WHERE tenant_id = CAST(:tenant AS bigint)) AS has_changes

-- Lock a type against writers that name it until the transaction ends. It waits for those that have named it already.
-- Parameters: :code of the detail type.
-- Used by: db.registries.detail_type._lock_and_check_unused
SELECT code
FROM detail_type
WHERE tenant_id = CAST(:tenant AS bigint) AND code = CAST(:code AS text)
FOR UPDATE

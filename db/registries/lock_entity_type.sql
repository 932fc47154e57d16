-- Keeps writers that name this type waiting until the transaction ends, and waits for those that named it already.
SELECT code
FROM entity_type
WHERE tenant_id = CAST(:tenant AS bigint) AND code = CAST(:code AS text)
FOR UPDATE

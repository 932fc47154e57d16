-- Notes what a type of joins is called from either end, unless another is called so. Always in one order, so that two that declare the
-- same cannot wait for each other.
INSERT INTO relationship_key (tenant_id, near, key, far, type_id)
SELECT CAST(:tenant AS bigint), near, key, far, CAST(:type AS bigint)
FROM unnest(CAST(:near AS text[]), CAST(:keys AS text[]), CAST(:far AS text[])) AS k (near, key, far)
ORDER BY near, key, far
ON CONFLICT DO NOTHING

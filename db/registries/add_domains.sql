-- A domain exists once something names it. Always in order of the name, so that two batches cannot wait for each other.
INSERT INTO domain (tenant_id, name)
SELECT DISTINCT CAST(:tenant AS bigint), name
FROM unnest(CAST(:names AS text[])) AS n (name)
ORDER BY name
ON CONFLICT (tenant_id, name) DO NOTHING

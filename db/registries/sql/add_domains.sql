-- Add the domains with these names, unless they exist. They are inserted in order of the name, so that two batches cannot
-- deadlock.
-- Parameters: :names of the domains.
-- Used by: db.registries.domain.add_domains
INSERT INTO domain (tenant_id, name)
SELECT DISTINCT CAST(:tenant AS bigint), name
FROM unnest(CAST(:names AS text[])) AS n (name)
ORDER BY name
ON CONFLICT (tenant_id, name) DO NOTHING

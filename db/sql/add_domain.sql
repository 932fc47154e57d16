-- A domain exists once something names it.
INSERT INTO domain (tenant_id, name)
VALUES (CAST(:tenant AS bigint), CAST(:name AS text))
ON CONFLICT (tenant_id, name) DO NOTHING

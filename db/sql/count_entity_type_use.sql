-- How many entities have a type. Ended ones count: their history needs it.
SELECT count(*) AS entities
FROM asset
WHERE tenant_id = CAST(:tenant AS bigint) AND type = CAST(:code AS text)

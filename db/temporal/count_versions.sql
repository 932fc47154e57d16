-- How many versions of a kind stand.
SELECT count(*) AS versions
FROM {versions} v
WHERE v.tenant_id = CAST(:tenant AS bigint)

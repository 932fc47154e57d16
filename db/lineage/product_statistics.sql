-- The products of each domain at an instant: how many of each status, how many in all (of no status), and how many owners they have.
SELECT domain, status, count(*) AS products, count(DISTINCT owner) AS owners
FROM product_version
WHERE tenant_id = CAST(:tenant AS bigint) AND valid_from <= CAST(:instant AS timestamptz) AND valid_to > CAST(:instant AS timestamptz)
GROUP BY GROUPING SETS ((domain), (domain, status))

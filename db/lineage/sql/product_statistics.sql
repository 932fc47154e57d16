-- Count the products of each domain at an instant by status and, in the row without a status, in all, with the number of owners.
-- Parameters: :instant of the products.
-- Used by: db.lineage.analytics.product_statistics
SELECT domain, status, count(*) AS products, count(DISTINCT owner) AS owners
FROM product_version
WHERE tenant_id = CAST(:tenant AS bigint) AND valid_from <= CAST(:instant AS timestamptz) AND valid_to > CAST(:instant AS timestamptz)
GROUP BY GROUPING SETS ((domain), (domain, status))

-- How many joins are of a type, or ever were.
SELECT count(*) AS joins
FROM relationship
WHERE tenant_id = CAST(:tenant AS bigint) AND type_id = CAST(:type AS bigint)

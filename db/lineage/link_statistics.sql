-- The links at an instant: how many of each type and, of no type, how many in all; and how sure those are on average.
SELECT type, count(*) AS links, avg(confidence) AS confidence
FROM lineage_link_effective
WHERE tenant_id = CAST(:tenant AS bigint) AND valid_from <= CAST(:instant AS timestamptz) AND valid_to > CAST(:instant AS timestamptz)
GROUP BY GROUPING SETS ((), (type))

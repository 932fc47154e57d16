-- Count the links at an instant by type and, in the row without a type, in all, with their average confidence.
-- Parameters: :instant of the links.
-- Used by: db.lineage.analytics.link_statistics
SELECT type, count(*) AS links, avg(confidence) AS confidence
FROM lineage_link_effective
WHERE tenant_id = CAST(:tenant AS bigint) AND valid_from <= CAST(:instant AS timestamptz) AND valid_to > CAST(:instant AS timestamptz)
GROUP BY GROUPING SETS ((), (type))

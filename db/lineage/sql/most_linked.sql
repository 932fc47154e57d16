-- Read the assets with the most neighbours on one side at an instant, the most first; of equals, the one with the lowest id.
-- Parameters: :instant of the links; :limit, the most assets.
-- Tokens: {near} the column of the end of a link at which the asset is; {far} that of its neighbour
-- Used by: db.lineage.analytics.most_linked
SELECT {near} AS asset_id, count(DISTINCT {far}) AS degree
FROM lineage_link_effective
WHERE tenant_id = CAST(:tenant AS bigint) AND valid_from <= CAST(:instant AS timestamptz) AND valid_to > CAST(:instant AS timestamptz)
GROUP BY {near}
ORDER BY degree DESC, asset_id
LIMIT CAST(:limit AS bigint)

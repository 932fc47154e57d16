-- Read the pairs of assets that are linked at an instant, each pair once however many links it has, as two parallel arrays.
-- Parameters: :instant of the links; :limit, the most pairs.
-- Used by: db.lineage.analytics._graph_metrics
SELECT coalesce(array_agg(source_id), '{}') AS sources, coalesce(array_agg(target_id), '{}') AS targets
FROM (
  SELECT DISTINCT source_id, target_id
  FROM lineage_link_effective
  WHERE tenant_id = CAST(:tenant AS bigint) AND valid_from <= CAST(:instant AS timestamptz) AND valid_to > CAST(:instant AS timestamptz)
  LIMIT CAST(:limit AS bigint)
) edge

-- Which assets feed which at an instant, whoever says so and how often, in as few values as can be: one array of the ends of each kind.
SELECT coalesce(array_agg(source_id), '{}') AS sources, coalesce(array_agg(target_id), '{}') AS targets
FROM (
  SELECT DISTINCT source_id, target_id
  FROM lineage_link_effective
  WHERE tenant_id = CAST(:tenant AS bigint) AND valid_from <= CAST(:instant AS timestamptz) AND valid_to > CAST(:instant AS timestamptz)
  LIMIT CAST(:limit AS bigint)
) edge

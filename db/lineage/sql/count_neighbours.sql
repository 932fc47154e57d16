-- Count the assets at the other ends of the links of assets, each asset at its own instant and in its own direction, and these
-- links, of which at most :links + 1 are read.
-- Parameters: :assets ids; for each its instant in :instants, or NULL for now, and its direction in :are_upstream; :links, the bound.
-- Used by: db.lineage.neighbours.count_neighbours
SELECT wanted.ordinal, found.assets, found.links
FROM (
  SELECT w.id, coalesce(w.instant, now()) AS instant, w.is_upstream, w.ordinal
  FROM unnest(CAST(:assets AS bigint[]), CAST(:instants AS timestamptz[]), CAST(:are_upstream AS boolean[]))
    WITH ORDINALITY AS w (id, instant, is_upstream, ordinal)
) wanted
CROSS JOIN LATERAL (
  SELECT count(DISTINCT link.asset_id) AS assets, count(*) AS links
  FROM (
    SELECT l.source_id AS asset_id
    FROM lineage_link_effective l
    WHERE wanted.is_upstream AND l.tenant_id = CAST(:tenant AS bigint) AND l.target_id = wanted.id
      AND l.valid_from <= wanted.instant AND l.valid_to > wanted.instant
    UNION ALL
    SELECT l.target_id
    FROM lineage_link_effective l
    WHERE NOT wanted.is_upstream AND l.tenant_id = CAST(:tenant AS bigint) AND l.source_id = wanted.id
      AND l.valid_from <= wanted.instant AND l.valid_to > wanted.instant
    LIMIT CAST(:links AS bigint) + 1
  ) link
) found

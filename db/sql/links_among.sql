-- The links among sets of assets, one set a walk. Each asset's links are looked at from one side, and it is told how many those were.
-- Fresh are the assets that no earlier page of the walk had: a link comes with the later of its ends.
WITH walked AS MATERIALIZED (
  SELECT place, array_agg(asset_id) AS members, array_agg(asset_id) FILTER (WHERE fresh) AS fresh
  FROM unnest(CAST(:places AS bigint[]), CAST(:members AS bigint[]), CAST(:fresh AS boolean[])) AS m (place, asset_id, fresh)
  GROUP BY place
)
SELECT w.place, found.*
FROM walked w
CROSS JOIN LATERAL (
  WITH seen AS MATERIALIZED (
    SELECT l.*
    FROM unnest(w.members) AS standing (asset_id)
    CROSS JOIN LATERAL (
      SELECT l.link_id, l.source_id, l.target_id, l.confidence, l.valid_from
      FROM lineage_link l
      WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.{near} = standing.asset_id
        AND l.valid_from <= CAST(:instant AS timestamptz) AND l.valid_to > CAST(:instant AS timestamptz) {pruned}
      OFFSET 0
    ) l
    LIMIT CAST(:looks AS bigint) + 1
  ),
  -- a set is no array: the membership of each is looked up once
  among AS MATERIALIZED (
    SELECT seen.*
    FROM seen
    WHERE seen.{far} IN (SELECT unnest(w.members))
  )
  {chosen}
) found

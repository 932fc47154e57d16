-- The links among sets of assets, one set a walk, each at an instant of its own. Each asset's links are looked at from one side; how many
-- those were is told, and whether time had run out before. Fresh are the assets that no earlier page of the walk had: a link comes with
-- the later of its ends.
WITH walked AS MATERIALIZED (
  SELECT m.place, i.instant, array_agg(m.asset_id) AS members, array_agg(m.asset_id) FILTER (WHERE m.fresh) AS fresh
  FROM unnest(CAST(:places AS bigint[]), CAST(:members AS bigint[]), CAST(:fresh AS boolean[])) AS m (place, asset_id, fresh)
  JOIN unnest(CAST(:instants AS timestamptz[])) WITH ORDINALITY AS i (instant, place) ON i.place = m.place
  GROUP BY m.place, i.instant
)
SELECT w.place, found.*
FROM (SELECT *, clock_timestamp() - statement_timestamp() > CAST(:time AS interval) AS late FROM walked) w
CROSS JOIN LATERAL (
  WITH seen AS MATERIALIZED (
    SELECT l.*
    FROM unnest(w.members) AS standing (asset_id)
    CROSS JOIN LATERAL (
      SELECT l.link_id, l.source_id, l.target_id, l.confidence, l.valid_from
      FROM lineage_link_effective l
      WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.{near} = standing.asset_id
        AND l.valid_from <= w.instant AND l.valid_to > w.instant {link_filter}
      OFFSET 0
    ) l
    WHERE NOT w.late
    LIMIT CAST(:looks AS bigint) + 1
  ),
  -- a set is no array: the membership of each is looked up once
  among AS MATERIALIZED (
    SELECT seen.*
    FROM seen
    WHERE seen.{far} IN (SELECT unnest(w.members))
  )
  {result}
) found

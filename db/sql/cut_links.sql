-- Cuts the links of some assets anew to the lives of both ends, from an instant on.
WITH scope AS (
  SELECT l.id AS subject_id, min(s.since) AS since
  FROM unnest(CAST(:subjects AS bigint[]), CAST(:instants AS timestamptz[])) AS s (asset_id, since)
  CROSS JOIN LATERAL (
    {include links_of_asset}
  ) l
  GROUP BY l.id
),
{include replace_links}

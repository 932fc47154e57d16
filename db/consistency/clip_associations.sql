-- Cuts the bonds of some assets anew to the lives of both ends, from an instant on.
WITH scope AS (
  SELECT i.id AS subject_id, min(s.since) AS since
  FROM unnest(CAST(:subjects AS bigint[]), CAST(:instants AS timestamptz[])) AS s (asset_id, since)
  CROSS JOIN LATERAL (
    {include _associations_of_asset}
  ) i
  GROUP BY i.id
),
{include _replace_effective}

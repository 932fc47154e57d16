-- Clip the associations of some assets anew to the lifetimes of both ends, each from an instant on.
-- Parameters: :subjects ids of assets; :instants, the first at which the lifetime of each changed, one for each.
-- Tokens: {identities}, {near}, {far} and those of _replace_effective, of the association kind.
-- Used by: db.consistency.lifecycle._clip
WITH affected AS (
  SELECT i.id AS subject_id, min(asset.since) AS since
  FROM unnest(CAST(:subjects AS bigint[]), CAST(:instants AS timestamptz[])) AS asset (asset_id, since)
  CROSS JOIN LATERAL (
    {include _associations_of_asset}
  ) i
  GROUP BY i.id
),
{include _replace_effective}

-- Locks the associations of some assets, in order of id, so that two batches cannot deadlock. Two writers that delete both ends of
-- an association at once have to see the other's change of a lifetime before they clip it.
-- Parameters: :subjects ids of assets.
-- Tokens: {identities}, {near}, {far} of the association kind.
-- Used by: db.consistency.lifecycle._lock_associations
SELECT id
FROM {identities}
WHERE tenant_id = CAST(:tenant AS bigint) AND id = ANY (ARRAY(
  SELECT i.id
  FROM unnest(CAST(:subjects AS bigint[])) AS asset (asset_id)
  CROSS JOIN LATERAL (
    {include _associations_of_asset}
  ) i
))
ORDER BY id
FOR NO KEY UPDATE

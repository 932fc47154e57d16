-- Lock the associations of some assets. The rows are locked in order of id, so that two statements that lock associations
-- cannot deadlock with each other. Of two writers that delete both ends of one association at once, the second waits here,
-- so that it clips the association to both changed lifetimes.
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

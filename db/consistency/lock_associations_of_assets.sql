-- Keeps others from cutting the bonds of some assets: two that end both ends of a bond at once have to see each other. Always in order
-- of id, so that they cannot wait for each other.
SELECT id
FROM {identities}
WHERE tenant_id = CAST(:tenant AS bigint) AND id = ANY (ARRAY(
  SELECT i.id
  FROM unnest(CAST(:subjects AS bigint[])) AS s (asset_id)
  CROSS JOIN LATERAL (
    {include _associations_of_asset}
  ) i
))
ORDER BY id
FOR NO KEY UPDATE

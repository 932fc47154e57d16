-- Keeps others from cutting the links of some assets: two that end both ends of a link at once have to see each other. Always in order
-- of id, so that they cannot wait for each other.
SELECT id
FROM link
WHERE tenant_id = CAST(:tenant AS bigint) AND id = ANY (ARRAY(
  SELECT l.id
  FROM unnest(CAST(:subjects AS bigint[])) AS s (asset_id)
  CROSS JOIN LATERAL (
    {include links_of_asset}
  ) l
))
ORDER BY id
FOR NO KEY UPDATE

-- Lock associations by their identities against other writers. The rows are locked in order of id, so that two statements
-- that lock associations cannot deadlock with each other.
-- Parameters: :near ids of the near ends; :far and the further parts of the identities by their names, one for each.
-- Tokens: {identities}, {near}, {far}, {parts}, {part_parameters}, {discriminator} of the association kind.
-- Used by: db.associations.association._lock
SELECT id, {near}, {far}, {parts}
FROM {identities}
WHERE tenant_id = CAST(:tenant AS bigint) AND id = ANY (ARRAY(
  SELECT i.id
  FROM unnest(CAST(:near AS bigint[]), CAST(:far AS bigint[]), {part_parameters}) AS n ({near}, {far}, {parts})
  CROSS JOIN LATERAL (
    SELECT i.id
    FROM {identities} i
    WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.{near} = n.{near} AND i.{far} = n.{far} AND i.{discriminator} IS NOT DISTINCT FROM n.{discriminator}
    OFFSET 0
  ) i
))
ORDER BY id
FOR NO KEY UPDATE

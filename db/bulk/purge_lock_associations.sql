-- Keeps everybody off the bonds of some assets, as many as a transaction removes, and of their log. Always in order of id.
SELECT id
FROM {identities}
WHERE tenant_id = CAST(:tenant AS bigint) AND id = ANY (ARRAY(
  SELECT b.id
  FROM (
    SELECT i.id, sum(said.changes) OVER (ORDER BY i.id) - said.changes AS changes_before
    FROM (
      SELECT DISTINCT i.id
      FROM unnest(CAST(:assets AS bigint[])) AS s (asset_id)
      CROSS JOIN LATERAL (
        {include consistency/_associations_of_asset}
      ) i
      ORDER BY i.id
      LIMIT CAST(:bonds AS integer)
    ) i
    CROSS JOIN LATERAL (
      SELECT count(*) AS changes
      FROM change c
      WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = '{kind}' AND c.subject_id = i.id
      OFFSET 0
    ) said
  ) b
  WHERE b.changes_before < CAST(:changes AS bigint)
))
ORDER BY id
FOR UPDATE

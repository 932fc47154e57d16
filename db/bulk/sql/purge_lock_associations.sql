-- Lock associations of some assets, as many as one transaction removes. The rows are locked in order of id, as by
-- every statement that locks associations.
-- Parameters: :assets ids of locked assets; :limit how many associations at most; :max_changes how many changes they may
--   have in all; the last one may exceed it.
-- Tokens: {kind}, {identities} and the columns of both ends of the kind.
-- Used by: db.bulk.purge._PurgeTransaction._remove
SELECT id
FROM {identities}
WHERE tenant_id = CAST(:tenant AS bigint) AND id = ANY (ARRAY(
  SELECT b.id
  FROM (
    SELECT i.id, sum(log.changes) OVER (ORDER BY i.id) - log.changes AS changes_before
    FROM (
      SELECT DISTINCT i.id
      FROM unnest(CAST(:assets AS bigint[])) AS asset (asset_id)
      CROSS JOIN LATERAL (
        {include consistency/_associations_of_asset}
      ) i
      ORDER BY i.id
      LIMIT CAST(:limit AS integer)
    ) i
    CROSS JOIN LATERAL (
      SELECT count(*) AS changes
      FROM change c
      WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = '{kind}' AND c.subject_id = i.id
      OFFSET 0
    ) log
  ) b
  WHERE b.changes_before < CAST(:max_changes AS bigint)
))
ORDER BY id
FOR UPDATE

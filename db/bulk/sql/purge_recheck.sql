-- Read those of some locked assets that may still be removed, and whether each is within the bound on the changes that one
-- transaction removes.
-- Parameters: :kind; :before the end of retention; :assets ids of locked assets; :max_changes the bound.
-- Used by: db.bulk.purge._PurgeTransaction.step
SELECT e.subject_id, sum(log.changes) OVER (ORDER BY e.subject_id) - log.changes < CAST(:max_changes AS bigint) AS within_bound
FROM (SELECT subject_id, CAST(:kind AS text) AS kind FROM unnest(CAST(:assets AS bigint[])) AS n (subject_id)) e
CROSS JOIN LATERAL (
  SELECT count(*) AS changes
  FROM change c
  WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = e.kind AND c.subject_id = e.subject_id
  OFFSET 0
) log
WHERE {include _purge_eligible}

-- Read assets of a kind that may be removed, in the order of their deletions, after a cursor. An asset with several deletions may
-- occur several times.
-- Parameters: :kind; :before the end of retention; :after and :after_id the cursor (the instant of a deletion and the
--   asset); :limit of the rows.
-- Used by: db.bulk.purge._PurgeTransaction.step
SELECT e.change_ts, e.subject_id
FROM (
  SELECT DISTINCT change_ts, subject_id, kind
  FROM change
  WHERE tenant_id = CAST(:tenant AS bigint) AND kind = CAST(:kind AS text) AND operation = 'DELETE'
    AND change_ts <= CAST(:before AS timestamptz)
    AND (change_ts, subject_id) > (coalesce(CAST(:after AS timestamptz), '-infinity'), CAST(:after_id AS bigint))
) e
WHERE {include _purge_eligible}
ORDER BY e.change_ts, e.subject_id
LIMIT CAST(:limit AS integer)

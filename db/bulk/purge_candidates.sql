-- Assets of a kind that are to be removed for good, behind a place in the order in which they ended. One that ended several times may
-- come several times.
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
LIMIT CAST(:assets AS integer)

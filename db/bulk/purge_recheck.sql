-- Which of some assets, which are locked, are to be removed still; and whether it is their turn, for a transaction removes only so much
-- of the log.
SELECT e.subject_id, sum(said.changes) OVER (ORDER BY e.subject_id) - said.changes < CAST(:changes AS bigint) AS in_turn
FROM (SELECT subject_id, CAST(:kind AS text) AS kind FROM unnest(CAST(:assets AS bigint[])) AS n (subject_id)) e
CROSS JOIN LATERAL (
  SELECT count(*) AS changes
  FROM change c
  WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = e.kind AND c.subject_id = e.subject_id
  OFFSET 0
) said
WHERE {include _purge_eligible}

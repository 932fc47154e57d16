-- Read changes of assets of one kind: the state before, the state after, and the entry of the change log that caused each.
-- Parameters: those of the candidates.
-- Tokens: {candidates}, a query of (at, subject_id); {kind}, {versions}, {subject}, {state}, {state_before} of the kind.
-- Used by: db.temporal.changes.list_changes
SELECT '{kind}' AS kind, candidate.at, candidate.subject_id, a.uid, a.type,
  CASE
    WHEN v.valid_from IS NULL THEN 'DELETED'
    WHEN v.created_at = v.valid_from THEN 'CREATED'
    WHEN previous.state IS NOT NULL THEN 'UPDATED'
    ELSE 'RESTORED'
  END AS change,
  NULLIF(v.valid_to, 'infinity') AS valid_to, coalesce(v.created_at, previous.created_at) AS created_at,
  CASE WHEN v.valid_from IS NOT NULL THEN {state} END AS state,
  previous.valid_from AS from_before, previous.state AS state_before, cause.recorded_at, cause.actor,
  cause.credential, cause.request_id
FROM ({candidates}) candidate
JOIN asset a ON a.tenant_id = CAST(:tenant AS bigint) AND a.id = candidate.subject_id
LEFT JOIN {versions} v ON v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = candidate.subject_id AND v.valid_from = candidate.at
LEFT JOIN LATERAL (
  SELECT p.valid_from, p.valid_to, p.created_at, {state_before} AS state
  FROM {versions} p
  WHERE p.tenant_id = CAST(:tenant AS bigint) AND p.{subject} = candidate.subject_id AND p.valid_from < candidate.at
  ORDER BY p.valid_from DESC
  LIMIT 1
) previous ON previous.valid_to = candidate.at
JOIN LATERAL (
  SELECT c.recorded_at, c.actor, c.credential, c.request_id {include _change_author}
) cause ON true

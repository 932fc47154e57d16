-- Changes of one kind of assets, out of the places at which they became different: what each was just before, what it is from then
-- on, and who said so.
SELECT '{kind}' AS kind, found.at, found.subject_id, a.uid, a.type, a.key,
  CASE
    WHEN v.valid_from IS NULL THEN 'DELETED'
    WHEN v.created_at = v.valid_from THEN 'CREATED'
    WHEN previous.state IS NOT NULL THEN 'UPDATED'
    ELSE 'RESTORED'
  END AS change,
  NULLIF(v.valid_to, 'infinity') AS valid_to, coalesce(v.created_at, previous.created_at) AS created_at,
  CASE WHEN v.valid_from IS NOT NULL THEN {state} END AS state,
  previous.valid_from AS from_before, previous.state AS state_before, said.recorded_at, said.actor, said.request_id
FROM ({candidates}) found
JOIN asset a ON a.tenant_id = CAST(:tenant AS bigint) AND a.id = found.subject_id
LEFT JOIN {versions} v ON v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = found.subject_id AND v.valid_from = found.at
LEFT JOIN LATERAL (
  SELECT p.valid_from, p.valid_to, p.created_at, {state_before} AS state
  FROM {versions} p
  WHERE p.tenant_id = CAST(:tenant AS bigint) AND p.{subject} = found.subject_id AND p.valid_from < found.at
  ORDER BY p.valid_from DESC
  LIMIT 1
) previous ON previous.valid_to = found.at
JOIN LATERAL (
  SELECT c.recorded_at, c.actor, c.request_id {include _change_author}
) said ON true

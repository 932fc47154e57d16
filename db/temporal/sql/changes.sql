-- Read changes of subjects of one kind: the state before, the state after, and the entry of the change log that caused each.
-- Expects: CTE page (subject_group, kind, at, subject_id), the changes to read. Provides: a query.
-- Tokens: {group}; {kind}, {periods}, {subject}, {identities}, {identity},
--   {created_at}, {state}, {author} of the kind.
-- Used by: db.temporal.changes.list_changes
SELECT '{kind}' AS kind, {group} AS subject_group, candidate.at, candidate.subject_id, i.*,
  CASE
    WHEN v.valid_from IS NULL THEN 'DELETED'
    WHEN v.created_at = v.valid_from THEN 'CREATED'
    WHEN previous.state IS NOT NULL THEN 'UPDATED'
    ELSE 'RESTORED'
  END AS change,
  NULLIF(v.valid_to, 'infinity') AS valid_to, coalesce(v.created_at, previous.created_at) AS created_at, v.state,
  previous.valid_from AS from_before, previous.state AS state_before, cause.recorded_at, cause.actor,
  cause.credential, cause.request_id
FROM (SELECT at, subject_id FROM page WHERE kind = '{kind}') candidate
CROSS JOIN LATERAL (
  SELECT i.uid, {identity}
  FROM {identities} i
  WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.id = candidate.subject_id
  OFFSET 0
) i
LEFT JOIN LATERAL (
  SELECT v.valid_from, v.valid_to, {created_at} AS created_at, {state} AS state
  FROM {periods} v
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = candidate.subject_id AND v.valid_from = candidate.at
  OFFSET 0
) v ON true
LEFT JOIN LATERAL (
  SELECT v.valid_from, v.valid_to, {created_at} AS created_at, {state} AS state
  FROM {periods} v
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = candidate.subject_id AND v.valid_from < candidate.at
  ORDER BY v.valid_from DESC
  LIMIT 1
) previous ON previous.valid_to = candidate.at
JOIN LATERAL (
  SELECT c.recorded_at, c.actor, c.credential, c.request_id
{author}
) cause ON true

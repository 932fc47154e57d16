-- Read a page of the versions of each subject, with the state before each and the log entry that caused it. The versions of an
-- association are the periods in which it was effective.
-- Parameters: :subjects ids; :after and :before, instants that bound the page, or null; :limit of the rows of each subject.
-- Tokens: {direction}, ASC or DESC; {periods}, {subject}, {is_association}, {created_at}, {state}, {state_before}, {author} of
--   the kind.
-- Used by: db.temporal.history.histories
SELECT candidate.subject_id, a.type, v.valid_from, NULLIF(v.valid_to, 'infinity') AS valid_to, {created_at} AS created_at,
  {state} AS state, previous.state AS state_before, cause.recorded_at, cause.actor, cause.credential
FROM unnest(CAST(:subjects AS bigint[])) AS requested (subject_id)
LEFT JOIN LATERAL (
  SELECT a.type
  FROM asset a
  WHERE NOT {is_association} AND a.tenant_id = CAST(:tenant AS bigint) AND a.id = requested.subject_id
  LIMIT 1
) a ON true
CROSS JOIN LATERAL (
  SELECT *
  FROM {periods} v
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = requested.subject_id
    AND v.valid_from > coalesce(CAST(:after AS timestamptz), '-infinity')
    AND v.valid_from < coalesce(CAST(:before AS timestamptz), 'infinity')
  ORDER BY v.valid_from {direction}
  LIMIT CAST(:limit AS bigint)
) v
CROSS JOIN LATERAL (SELECT requested.subject_id, v.valid_from AS at) candidate
LEFT JOIN LATERAL (
  SELECT p.valid_to, {state_before} AS state
  FROM {periods} p
  WHERE p.tenant_id = CAST(:tenant AS bigint) AND p.{subject} = requested.subject_id AND p.valid_from < v.valid_from
  ORDER BY p.valid_from DESC
  LIMIT 1
) previous ON previous.valid_to = v.valid_from
-- Of the log entries at the instant at which a version begins, the last that changed the state caused it.
JOIN LATERAL (
  SELECT c.recorded_at, c.actor, c.credential
{author}
) cause ON true
ORDER BY candidate.subject_id, v.valid_from {direction}

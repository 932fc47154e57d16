-- Read subjects of one kind that differ between two instants, with the period at the earlier and at the later one.
-- Expects: CTE page (subject_group, kind, subject_id, earlier_from, later_from), the differences to read. Provides: a query.
-- Tokens: {group}; {kind}, {periods}, {subject}, {identities},
--   {identity}, {created_at}, {state} of the kind.
-- Used by: db.temporal.differences.list_differences
SELECT '{kind}' AS kind, {group} AS subject_group, candidate.subject_id, i.*,
  earlier.valid_from AS from_before, NULLIF(earlier.valid_to, 'infinity') AS to_before, earlier.created_at AS created_before,
  earlier.state AS state_before,
  later.valid_from AS from_after, NULLIF(later.valid_to, 'infinity') AS to_after, later.created_at AS created_after,
  later.state AS state_after
FROM (SELECT subject_id, earlier_from, later_from FROM page WHERE kind = '{kind}') candidate
CROSS JOIN LATERAL (
  SELECT i.uid, {identity}
  FROM {identities} i
  WHERE i.tenant_id = CAST(:tenant AS bigint) AND i.id = candidate.subject_id
  OFFSET 0
) i
LEFT JOIN LATERAL (
  SELECT v.valid_from, v.valid_to, {created_at} AS created_at, {state} AS state
  FROM {periods} v
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = candidate.subject_id AND v.valid_from = candidate.earlier_from
  OFFSET 0
) earlier ON true
LEFT JOIN LATERAL (
  SELECT v.valid_from, v.valid_to, {created_at} AS created_at, {state} AS state
  FROM {periods} v
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = candidate.subject_id AND v.valid_from = candidate.later_from
  OFFSET 0
) later ON true

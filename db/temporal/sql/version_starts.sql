-- Read the starts of the periods of a kind: the instants at which a subject was created, updated or restored.
-- Parameters: those of the cursor bounds and the filters.
-- Tokens: {filters}; {group}; {periods}, {subject}, {created_at} of the kind.
-- Used by: db.temporal.changes.list_changes, db.temporal.changes.count_changes
SELECT candidate.at, candidate.subject_id
FROM (
  SELECT v.valid_from AS at, v.{subject} AS subject_id, {created_at} AS created_at
  FROM {periods} v
  WHERE v.tenant_id = CAST(:tenant AS bigint)
) candidate
WHERE {include _cursor_bounds} {filters}

-- Read the ends of the periods of associations: their own deletions, those of their ends, and the updates that begin another period.
-- Parameters: those of the cursor bounds and the filters.
-- Tokens: {filters}; {group}; {effective}, {subject} of the association kind.
-- Used by: db.temporal.changes.list_changes, db.temporal.changes.count_changes
SELECT candidate.at, candidate.subject_id
FROM (
  SELECT e.valid_to AS at, e.{subject} AS subject_id
  FROM {effective} e
  WHERE e.tenant_id = CAST(:tenant AS bigint) AND e.valid_to < 'infinity'
) candidate
WHERE {include _cursor_bounds} {filters}

-- Read the ends of lifetimes of a kind of assets at which no other lifetime begins. Only a deletion ends a lifetime; several deletions
-- at one instant are one end.
-- Parameters: those of the cursor bounds and the filters.
-- Tokens: {filters}; {group}; {kind}, {versions}, {subject} of the kind.
-- Used by: db.temporal.changes.list_changes, db.temporal.changes.count_changes
SELECT DISTINCT candidate.at, candidate.subject_id
FROM (
  SELECT c.change_ts AS at, c.subject_id
  FROM change c
  WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = '{kind}' AND c.operation = 'DELETE'
) candidate
CROSS JOIN LATERAL (
  SELECT v.valid_to
  FROM {versions} v
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = candidate.subject_id AND v.valid_from <= candidate.at
  ORDER BY v.valid_from DESC
  LIMIT 1
) last
WHERE last.valid_to = candidate.at AND {include _cursor_bounds} {filters}

-- Find subjects of a kind that differ between two instants, among candidates that changed in between: a subject may have
-- changed back.
-- Parameters: :since and :until, the two instants; :kinds of differences; those of the filters.
-- Tokens: {candidates}, a query of (subject_id); {direction}, ASC or DESC; {filters}; {periods}, {subject} of the kind.
-- Used by: db.temporal.differences.list_differences, db.temporal.differences.count_differences
SELECT candidate.subject_id, earlier.valid_from AS earlier_from, later.valid_from AS later_from
-- In the order of the page, so that no more candidates are compared than the page needs.
FROM (SELECT DISTINCT subject_id FROM ({candidates}) changed ORDER BY subject_id {direction}) candidate
LEFT JOIN LATERAL (
  SELECT v.valid_from, v.valid_to, v.digest
  FROM {periods} v
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = candidate.subject_id AND v.valid_from <= CAST(:since AS timestamptz)
  ORDER BY v.valid_from DESC
  LIMIT 1
) earlier ON earlier.valid_to > CAST(:since AS timestamptz)
LEFT JOIN LATERAL (
  SELECT v.valid_from, v.valid_to, v.digest
  FROM {periods} v
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = candidate.subject_id AND v.valid_from <= CAST(:until AS timestamptz)
  ORDER BY v.valid_from DESC
  LIMIT 1
) later ON later.valid_to > CAST(:until AS timestamptz)
WHERE earlier.digest IS DISTINCT FROM later.digest
  AND CASE
    WHEN earlier.digest IS NULL THEN 'ADDED'
    WHEN later.digest IS NULL THEN 'REMOVED'
    ELSE 'CHANGED'
  END = ANY (CAST(:kinds AS text[]))
{filters}

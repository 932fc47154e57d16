-- Assets of a kind that are not the same at two instants, out of those that became something else in between: they may have become
-- again what they were. What a page and a filter ask for comes last.
SELECT found.subject_id, earlier.valid_from AS earlier_from, later.valid_from AS later_from
-- in the order of the page, so that no more of them is looked at than it needs
FROM (SELECT DISTINCT subject_id FROM ({candidates}) touched ORDER BY subject_id {direction}) found
LEFT JOIN LATERAL (
  SELECT v.valid_from, v.valid_to, v.digest
  FROM {versions} v
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = found.subject_id AND v.valid_from <= CAST(:since AS timestamptz)
  ORDER BY v.valid_from DESC
  LIMIT 1
) earlier ON earlier.valid_to > CAST(:since AS timestamptz)
LEFT JOIN LATERAL (
  SELECT v.valid_from, v.valid_to, v.digest
  FROM {versions} v
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = found.subject_id AND v.valid_from <= CAST(:until AS timestamptz)
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

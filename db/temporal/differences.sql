-- Read assets of one kind that differ between two instants, with the version at the earlier and at the later one.
-- Parameters: those of the candidates.
-- Tokens: {candidates}, a query of (subject_id, earlier_from, later_from); {kind}, {versions}, {subject}, {state},
--   {state_before} of the kind.
-- Used by: db.temporal.differences.list_differences
SELECT '{kind}' AS kind, candidate.subject_id, a.uid, a.type,
  p.valid_from AS from_before, NULLIF(p.valid_to, 'infinity') AS to_before, p.created_at AS created_before,
  CASE WHEN p.valid_from IS NOT NULL THEN {state_before} END AS state_before,
  v.valid_from AS from_after, NULLIF(v.valid_to, 'infinity') AS to_after, v.created_at AS created_after,
  CASE WHEN v.valid_from IS NOT NULL THEN {state} END AS state_after
FROM ({candidates}) candidate
JOIN asset a ON a.tenant_id = CAST(:tenant AS bigint) AND a.id = candidate.subject_id
LEFT JOIN {versions} p
  ON p.tenant_id = CAST(:tenant AS bigint) AND p.{subject} = candidate.subject_id AND p.valid_from = candidate.earlier_from
LEFT JOIN {versions} v
  ON v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = candidate.subject_id AND v.valid_from = candidate.later_from

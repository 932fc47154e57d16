-- Assets of one kind that are not the same at two instants: what each was at the earlier one, and what it is at the later one.
SELECT '{kind}' AS kind, found.subject_id, a.uid, a.type, a.key,
  p.valid_from AS from_before, NULLIF(p.valid_to, 'infinity') AS to_before, p.created_at AS created_before,
  CASE WHEN p.valid_from IS NOT NULL THEN {state_before} END AS state_before,
  v.valid_from AS from_after, NULLIF(v.valid_to, 'infinity') AS to_after, v.created_at AS created_after,
  CASE WHEN v.valid_from IS NOT NULL THEN {state} END AS state_after
FROM ({candidates}) found
JOIN asset a ON a.tenant_id = CAST(:tenant AS bigint) AND a.id = found.subject_id
LEFT JOIN {versions} p
  ON p.tenant_id = CAST(:tenant AS bigint) AND p.{subject} = found.subject_id AND p.valid_from = found.earlier_from
LEFT JOIN {versions} v
  ON v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = found.subject_id AND v.valid_from = found.later_from

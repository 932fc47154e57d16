-- A page of each subject's versions, with what came before each and who said so. {direction} is ASC or DESC.
SELECT wanted.subject_id, a.type, a.key, v.valid_from, NULLIF(v.valid_to, 'infinity') AS valid_to, v.created_at, {state} AS state,
  previous.state AS state_before, said.recorded_at, said.actor
FROM unnest(CAST(:subjects AS bigint[])) AS wanted (subject_id)
CROSS JOIN LATERAL (
  SELECT a.type, a.key
  FROM asset a
  WHERE a.tenant_id = CAST(:tenant AS bigint) AND a.id = wanted.subject_id
  LIMIT 1
) a
CROSS JOIN LATERAL (
  SELECT *
  FROM {versions} v
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = wanted.subject_id
    AND v.valid_from > coalesce(CAST(:after AS timestamptz), '-infinity')
    AND v.valid_from < coalesce(CAST(:before AS timestamptz), 'infinity')
  ORDER BY v.valid_from {direction}
  LIMIT CAST(:limit AS bigint)
) v
LEFT JOIN LATERAL (
  SELECT p.valid_to, {state_before} AS state
  FROM {versions} p
  WHERE p.tenant_id = CAST(:tenant AS bigint) AND p.{subject} = wanted.subject_id AND p.valid_from < v.valid_from
  ORDER BY p.valid_from DESC
  LIMIT 1
) previous ON previous.valid_to = v.valid_from
-- of what was said at the instant a version begins, the last that changed anything made it
JOIN LATERAL (
  SELECT c.recorded_at, c.actor
  FROM change c
  WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = CAST(:kind AS text) AND c.subject_id = wanted.subject_id
    AND c.change_ts = v.valid_from
  ORDER BY c.changed DESC, c.seq DESC
  LIMIT 1
) said ON true
ORDER BY wanted.subject_id, v.valid_from {direction}

-- Of links at instants of their own: when what holds then was written down, and when each was last said to be so.
SELECT asked.place, made.recorded_at, seen.change_ts AS last_seen_at
FROM unnest(CAST(:links AS bigint[]), CAST(:instants AS timestamptz[])) WITH ORDINALITY AS asked (link_id, instant, place)
CROSS JOIN LATERAL (
  SELECT v.valid_from
  FROM lineage_link_version v
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.link_id = asked.link_id AND v.valid_from <= asked.instant
  ORDER BY v.valid_from DESC
  LIMIT 1
) v
CROSS JOIN LATERAL (
  SELECT c.recorded_at
  FROM change c
  WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = 'LINK' AND c.subject_id = asked.link_id AND c.change_ts = v.valid_from
  ORDER BY c.changed DESC, c.seq DESC
  LIMIT 1
) made
CROSS JOIN LATERAL (
  SELECT c.change_ts
  FROM change c
  WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = 'LINK' AND c.subject_id = asked.link_id AND c.change_ts <= asked.instant
    AND c.operation <> 'DELETE'
  ORDER BY c.change_ts DESC
  LIMIT 1
) seen

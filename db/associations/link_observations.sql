-- Read when the state that each link has at an instant was recorded, and when the link was last asserted up to that instant.
-- Parameters: :links ids; :instants, one for each.
-- Used by: db.associations.lineage_link.link_observations
SELECT requested.ordinal, recorded.recorded_at, asserted.change_ts AS last_seen_at
FROM unnest(CAST(:links AS bigint[]), CAST(:instants AS timestamptz[])) WITH ORDINALITY AS requested (link_id, instant, ordinal)
CROSS JOIN LATERAL (
  SELECT v.valid_from
  FROM lineage_link_version v
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.link_id = requested.link_id AND v.valid_from <= requested.instant
  ORDER BY v.valid_from DESC
  LIMIT 1
) v
-- the change that began the version
CROSS JOIN LATERAL (
  SELECT c.recorded_at
  FROM change c
  WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = 'LINK' AND c.subject_id = requested.link_id AND c.change_ts = v.valid_from
  ORDER BY c.changed DESC, c.seq DESC
  LIMIT 1
) recorded
-- the last assertion, whether or not it changed the state
CROSS JOIN LATERAL (
  SELECT c.change_ts
  FROM change c
  WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = 'LINK' AND c.subject_id = requested.link_id AND c.change_ts <= requested.instant
    AND c.operation <> 'DELETE'
  ORDER BY c.change_ts DESC
  LIMIT 1
) asserted

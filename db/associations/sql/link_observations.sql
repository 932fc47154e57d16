-- Read who made each link as it is and when that was recorded, when the link was first effective, and when it was last asserted
-- up to an instant.
-- Parameters: :subjects ids of links; :starts of their periods; :instants, one for each.
-- Tokens: those of _recorded.
-- Used by: db.associations.lineage_link.link_observations
SELECT candidate.ordinal, first.created_at, recorded.recorded_at, recorded.actor, recorded.credential, asserted.change_ts AS last_seen_at
FROM unnest(CAST(:subjects AS bigint[]), CAST(:starts AS timestamptz[]), CAST(:instants AS timestamptz[]))
  WITH ORDINALITY AS candidate (subject_id, at, instant, ordinal)
{include _recorded}
-- the last assertion, whether or not it changed the state
CROSS JOIN LATERAL (
  SELECT c.change_ts
  FROM change c
  WHERE c.tenant_id = CAST(:tenant AS bigint) AND c.kind = 'LINK' AND c.subject_id = candidate.subject_id
    AND c.change_ts <= candidate.instant AND c.operation <> 'DELETE'
  ORDER BY c.change_ts DESC
  LIMIT 1
) asserted

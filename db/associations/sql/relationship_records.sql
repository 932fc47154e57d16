-- Read who made each relationship as it is and when that was recorded, and when the relationship was first effective.
-- Parameters: :subjects ids of relationships; :starts of their periods, one for each.
-- Tokens: those of _recorded.
-- Used by: db.associations.relationship.relationship_records
SELECT candidate.ordinal, first.created_at, recorded.recorded_at, recorded.actor, recorded.credential
FROM unnest(CAST(:subjects AS bigint[]), CAST(:starts AS timestamptz[])) WITH ORDINALITY AS candidate (subject_id, at, ordinal)
{include _recorded}

-- Brings the effective rows of some associations in line with their versions, each from an instant on.
-- Parameters: :subjects ids of associations, :instants the first instant at which the versions of each changed.
-- Tokens: those of _replace_effective, of the association kind.
-- Used by: db.temporal.change_log.append_changes, as a projection of the association kinds
WITH scope AS (
  SELECT * FROM unnest(CAST(:subjects AS bigint[]), CAST(:instants AS timestamptz[])) AS s (subject_id, since)
),
{include _replace_effective}

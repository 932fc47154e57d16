-- Bring the effective rows of some associations up to date with their versions, each from an instant on.
-- Parameters: :subjects ids of associations; :instants, the first at which the versions of each changed, one for each.
-- Tokens: those of _replace_effective, of the association kind.
-- Used by: db.temporal.change_log.append_changes, as a projection of the association kinds
WITH affected (subject_id, since) AS (
  SELECT * FROM unnest(CAST(:subjects AS bigint[]), CAST(:instants AS timestamptz[]))
),
{include _replace_effective}

-- Brings what holds of some bonds up to their versions, from an instant on.
WITH scope AS (
  SELECT * FROM unnest(CAST(:subjects AS bigint[]), CAST(:instants AS timestamptz[])) AS s (subject_id, since)
),
{include _replace_effective}

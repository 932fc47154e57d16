-- Brings the lives of some assets up to their versions, from an instant on.
WITH scope AS (
  SELECT * FROM unnest(CAST(:subjects AS bigint[]), CAST(:instants AS timestamptz[])) AS s (subject_id, since)
),
standing AS (
  SELECT s.since, l.place, l.asset_id, l.valid_from, l.valid_to
  FROM scope s
  CROSS JOIN LATERAL (
    SELECT l.ctid AS place, l.*
    FROM asset_lifetime l
    WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.asset_id = s.subject_id AND l.valid_to >= s.since
    OFFSET 0
  ) l
),
-- what stands from before, up to that instant, and what the versions say from it on
pieces AS (
  SELECT asset_id, valid_from, least(valid_to, since) AS valid_to
  FROM standing
  WHERE valid_from < since
  UNION ALL
  SELECT s.subject_id, greatest(v.valid_from, s.since), v.valid_to
  FROM scope s
  CROSS JOIN LATERAL (
    SELECT v.valid_from, v.valid_to
    FROM {versions} v
    WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.{subject} = s.subject_id AND v.valid_to > s.since
    OFFSET 0
  ) v
),
{include _lifetime_periods},
-- what is on both sides stays
paired AS MATERIALIZED (
  SELECT s.place, t.*
  FROM standing s
  FULL JOIN target t ON t.asset_id = s.asset_id AND t.valid_from = s.valid_from AND t.valid_to = s.valid_to
),
gone AS (
  DELETE FROM asset_lifetime l
  WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.ctid = ANY (ARRAY(SELECT place FROM paired WHERE asset_id IS NULL))
  RETURNING l.asset_id
)
INSERT INTO asset_lifetime (tenant_id, asset_id, valid_from, valid_to)
SELECT CAST(:tenant AS bigint), p.asset_id, p.valid_from, p.valid_to
FROM paired p
-- counting what is gone has room made first
WHERE p.place IS NULL AND (SELECT count(*) FROM gone) >= 0

-- Brings the details of some entities up to their versions, from an instant on. A detail that stays as it was is not touched, whatever
-- changes beside it. (Lookups by entity, which no statistics turn into a scan.)
WITH scope AS (
  SELECT * FROM unnest(CAST(:subjects AS bigint[]), CAST(:instants AS timestamptz[])) AS s (subject_id, since)
),
standing AS (
  SELECT s.since, d.ctid AS place, d.asset_id, d.detail_type, d.valid_from, d.valid_to, d.value
  FROM scope s
  CROSS JOIN LATERAL (
    SELECT d.ctid, d.*
    FROM entity_detail d
    WHERE d.tenant_id = CAST(:tenant AS bigint) AND d.asset_id = s.subject_id AND d.valid_to >= s.since
    OFFSET 0
  ) d
),
-- what stands from before, up to that instant, and what the versions say from it on
pieces AS (
  SELECT asset_id, detail_type, value, valid_from, least(valid_to, since) AS valid_to
  FROM standing
  WHERE valid_from < since
  UNION ALL
  SELECT v.asset_id, d.key, d.value, greatest(v.valid_from, s.since), v.valid_to
  FROM scope s
  CROSS JOIN LATERAL (
    SELECT v.asset_id, v.valid_from, v.valid_to, v.details
    FROM entity_version v
    WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.asset_id = s.subject_id AND v.valid_to > s.since AND v.valid_from >= coalesce((
      SELECT max(p.valid_from)
      FROM entity_version p
      WHERE p.tenant_id = CAST(:tenant AS bigint) AND p.asset_id = s.subject_id AND p.valid_from <= s.since
    ), '-infinity')
    OFFSET 0
  ) v
  CROSS JOIN LATERAL jsonb_each_text(v.details) AS d
),
{include _detail_periods},
-- what is on both sides stays
paired AS MATERIALIZED (
  SELECT s.place, t.*
  FROM standing s
  FULL JOIN target t
    ON t.asset_id = s.asset_id AND t.detail_type = s.detail_type AND t.valid_from = s.valid_from AND t.valid_to = s.valid_to
    AND t.value = s.value
),
gone AS (
  DELETE FROM entity_detail d
  WHERE d.tenant_id = CAST(:tenant AS bigint) AND d.ctid = ANY (ARRAY(SELECT place FROM paired WHERE asset_id IS NULL))
  RETURNING d.asset_id
)
INSERT INTO entity_detail (tenant_id, asset_id, detail_type, valid_from, valid_to, value, number)
SELECT CAST(:tenant AS bigint), p.asset_id, p.detail_type, p.valid_from, p.valid_to, p.value,
  CASE t.format WHEN 'number' THEN CAST(p.value AS double precision) END
FROM paired p
LEFT JOIN detail_type t ON t.tenant_id = CAST(:tenant AS bigint) AND t.code = p.detail_type
-- counting what is gone has room made first
WHERE p.place IS NULL AND (SELECT count(*) FROM gone) >= 0

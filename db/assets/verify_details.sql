-- Projects every version's details anew and compares. A row is a difference.
WITH pieces AS (
  SELECT v.asset_id, d.key AS detail_type, d.value, v.valid_from, v.valid_to
  FROM entity_version v
  CROSS JOIN LATERAL jsonb_each_text(v.details) AS d
  WHERE v.tenant_id = CAST(:tenant AS bigint)
),
{include _detail_periods},
standing AS (
  SELECT d.asset_id, d.detail_type, d.valid_from, d.valid_to, d.value, d.number,
    CASE t.format WHEN 'number' THEN CAST(d.value AS double precision) END AS worth
  FROM entity_detail d
  LEFT JOIN detail_type t ON t.tenant_id = CAST(:tenant AS bigint) AND t.code = d.detail_type
  WHERE d.tenant_id = CAST(:tenant AS bigint)
)
SELECT coalesce(t.asset_id, s.asset_id) AS subject_id, coalesce(t.valid_from, s.valid_from) AS valid_from,
  'the detail ' || coalesce(t.detail_type, s.detail_type) || ' ' || CASE
    WHEN s.asset_id IS NULL THEN 'of a version is missing'
    WHEN t.asset_id IS NULL THEN 'stands though no version has it'
    WHEN s.valid_to <> t.valid_to THEN 'ends at another instant than the versions say'
    WHEN s.value <> t.value THEN 'differs from what the versions say'
    ELSE 'is written down as another number than it is'
  END AS difference
FROM target t
FULL JOIN standing s ON s.asset_id = t.asset_id AND s.detail_type = t.detail_type AND s.valid_from = t.valid_from
WHERE t.asset_id IS NULL OR s.asset_id IS NULL OR s.valid_to <> t.valid_to OR s.value <> t.value
  OR s.number IS DISTINCT FROM s.worth
ORDER BY 1, 2

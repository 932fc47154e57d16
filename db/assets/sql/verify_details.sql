-- Compute the details of all versions anew and compare them with the stored ones. Each row is a difference.
-- Used by: db.temporal.verification.verify_tenant
WITH periods AS (
  SELECT v.asset_id, d.key AS detail_type, d.value, v.valid_from, v.valid_to
  FROM entity_version v
  CROSS JOIN LATERAL jsonb_each_text(v.details) AS d
  WHERE v.tenant_id = CAST(:tenant AS bigint)
),
{include _detail_periods},
existing AS (
  SELECT d.asset_id, d.detail_type, d.valid_from, d.valid_to, d.value, d.number,
    CASE t.format WHEN 'number' THEN CAST(d.value AS double precision) END AS expected_number
  FROM entity_detail d
  LEFT JOIN detail_type t ON t.tenant_id = CAST(:tenant AS bigint) AND t.code = d.detail_type
  WHERE d.tenant_id = CAST(:tenant AS bigint)
)
SELECT coalesce(t.asset_id, e.asset_id) AS subject_id, coalesce(t.valid_from, e.valid_from) AS valid_from,
  'the detail ' || coalesce(t.detail_type, e.detail_type) || ' ' || CASE
    WHEN e.asset_id IS NULL THEN 'of a version is missing'
    WHEN t.asset_id IS NULL THEN 'is stored, but no version has it'
    WHEN e.valid_to <> t.valid_to THEN 'ends at another instant than in the versions'
    WHEN e.value <> t.value THEN 'has another value than in the versions'
    ELSE 'has a stored number that differs from its value'
  END AS difference
FROM target t
FULL JOIN existing e ON e.asset_id = t.asset_id AND e.detail_type = t.detail_type AND e.valid_from = t.valid_from
WHERE t.asset_id IS NULL OR e.asset_id IS NULL OR e.valid_to <> t.valid_to OR e.value <> t.value
  OR e.number IS DISTINCT FROM e.expected_number
ORDER BY 1, 2

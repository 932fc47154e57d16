-- Compute the keys of all versions anew and compare them with the stored ones. Each row is a difference.
-- Used by: db.temporal.verification.verify_tenant
WITH periods AS (
  SELECT v.asset_id, compared_key(k.key) AS compared, v.valid_from, v.valid_to
  FROM entity_version v
  CROSS JOIN LATERAL unnest(v.keys) AS k (key)
  WHERE v.tenant_id = CAST(:tenant AS bigint)
),
{include _key_periods},
existing AS (
  SELECT k.asset_id, k.compared, k.valid_from, k.valid_to, k.type, a.type AS type_of_asset
  FROM entity_key k
  LEFT JOIN asset a ON a.tenant_id = CAST(:tenant AS bigint) AND a.id = k.asset_id
  WHERE k.tenant_id = CAST(:tenant AS bigint)
)
SELECT coalesce(t.asset_id, e.asset_id) AS subject_id, coalesce(t.valid_from, e.valid_from) AS valid_from,
  'the key ' || coalesce(t.compared, e.compared) || ' ' || CASE
    WHEN e.asset_id IS NULL THEN 'of a version is missing'
    WHEN t.asset_id IS NULL THEN 'is stored, but no version has it'
    WHEN e.valid_to <> t.valid_to THEN 'ends at another instant than in the versions'
    ELSE 'is stored with another type than that of the entity'
  END AS difference
FROM target t
FULL JOIN existing e ON e.asset_id = t.asset_id AND e.compared = t.compared AND e.valid_from = t.valid_from
WHERE t.asset_id IS NULL OR e.asset_id IS NULL OR e.valid_to <> t.valid_to OR e.type IS DISTINCT FROM e.type_of_asset
ORDER BY 1, 2

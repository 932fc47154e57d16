-- Derive every lifetime of a kind of asset anew from the versions and compare it with the stored one. A row is a difference.
-- Parameters: :kind name of the asset kind.
-- Tokens: {versions}, {subject} of the asset kind.
-- Used by: db.temporal.verification.verify_tenant
WITH periods AS (
  SELECT v.{subject} AS asset_id, v.valid_from, v.valid_to
  FROM {versions} v
  WHERE v.tenant_id = CAST(:tenant AS bigint)
),
{include _lifetime_periods},
stored AS (
  SELECT l.*
  FROM asset_lifetime l
  JOIN asset a ON a.tenant_id = CAST(:tenant AS bigint) AND a.id = l.asset_id AND a.kind = CAST(:kind AS text)
  WHERE l.tenant_id = CAST(:tenant AS bigint)
)
SELECT coalesce(t.asset_id, s.asset_id) AS subject_id, coalesce(t.valid_from, s.valid_from) AS valid_from, CASE
    WHEN s.asset_id IS NULL THEN 'a lifetime that the versions imply is missing'
    WHEN t.asset_id IS NULL THEN 'a lifetime is stored that the versions do not imply'
    ELSE 'a lifetime ends at another instant than the versions imply'
  END AS difference
FROM target t
FULL JOIN stored s ON s.asset_id = t.asset_id AND s.valid_from = t.valid_from
WHERE t.asset_id IS NULL OR s.asset_id IS NULL OR s.valid_to <> t.valid_to
ORDER BY 1, 2

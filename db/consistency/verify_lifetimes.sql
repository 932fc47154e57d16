-- Makes every life of a kind anew from the versions and compares. A row is a difference.
WITH pieces AS (
  SELECT v.{subject} AS asset_id, v.valid_from, v.valid_to
  FROM {versions} v
  WHERE v.tenant_id = CAST(:tenant AS bigint)
),
{include _lifetime_periods},
standing AS (
  SELECT l.*
  FROM asset_lifetime l
  JOIN asset a ON a.tenant_id = CAST(:tenant AS bigint) AND a.id = l.asset_id AND a.kind = CAST(:kind AS text)
  WHERE l.tenant_id = CAST(:tenant AS bigint)
)
SELECT coalesce(t.asset_id, s.asset_id) AS subject_id, coalesce(t.valid_from, s.valid_from) AS valid_from, CASE
    WHEN s.asset_id IS NULL THEN 'the versions make a life that is missing'
    WHEN t.asset_id IS NULL THEN 'a life stands that the versions do not make'
    ELSE 'a life ends at another instant than the versions say'
  END AS difference
FROM target t
FULL JOIN standing s ON s.asset_id = t.asset_id AND s.valid_from = t.valid_from
WHERE t.asset_id IS NULL OR s.asset_id IS NULL OR s.valid_to <> t.valid_to
ORDER BY 1, 2

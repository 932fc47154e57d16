-- Resolve references to assets, each at an instant or now: by uid, by the product name valid then, or by entity type and
-- key. Return whether the name or key is that of the asset then, whether the asset is alive then, and whether it ever was until
-- then. A reference to nothing has no row.
-- Parameters: :uids; :products, :types, :keys and :instants, one for each, null where a reference has none; :now the
--   earliest instant that counts as now.
-- Used by: db.assets.reference.resolve
WITH requested AS MATERIALIZED (
  SELECT e.uid, e.product, e.type, e.key, e.ordinal,
    coalesce(e.instant, greatest(clock_timestamp(), CAST(:now AS timestamptz))) AS instant
  FROM unnest(
    CAST(:uids AS uuid[]), CAST(:products AS text[]), CAST(:types AS text[]), CAST(:keys AS text[]), CAST(:instants AS timestamptz[])
  ) WITH ORDINALITY AS e (uid, product, type, key, instant, ordinal)
)
SELECT r.ordinal, r.instant, a.id, a.uid, a.kind, a.type, a.named, coalesce(l.valid_to > r.instant, false) AS alive,
  l.valid_to IS NOT NULL AS ever_alive
FROM requested r
CROSS JOIN LATERAL (
  SELECT a.id, a.uid, a.kind, a.type, true AS named FROM asset a WHERE a.tenant_id = CAST(:tenant AS bigint) AND a.uid = r.uid
  UNION ALL
{include _entity_by_key}
  UNION ALL
  SELECT a.id, a.uid, a.kind, a.type, true
  FROM product_version v
  JOIN asset a ON a.tenant_id = CAST(:tenant AS bigint) AND a.id = v.asset_id
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.name = r.product AND v.valid_from <= r.instant AND v.valid_to > r.instant
  OFFSET 0
) a
-- the lifetime at the instant, or the last one before it
LEFT JOIN LATERAL (
  SELECT l.valid_to
  FROM asset_lifetime l
  WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.asset_id = a.id AND l.valid_from <= r.instant
  ORDER BY l.valid_from DESC
  LIMIT 1
) l ON true

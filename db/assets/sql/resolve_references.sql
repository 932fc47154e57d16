-- Resolve references to assets, each at an instant or now: by uid, by product name, or by entity type and key. Return whether the
-- name or key is that of the asset then, whether the asset is alive then, and whether it ever was until then. An asset that has
-- or had the name or key, but is not meant by it, comes with its own name or primary key at the instant, if it exists then. A
-- reference to nothing has no row.
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
SELECT r.ordinal, r.instant, a.id, a.uid, a.kind, a.type, a.named, a.meant, a.is_later,
  coalesce(l.valid_to > r.instant, false) AS alive, l.valid_to IS NOT NULL AS ever_alive,
  CASE WHEN NOT a.meant THEN coalesce((
    SELECT v.name
    FROM product_version v
    WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.asset_id = a.id AND v.valid_from <= r.instant AND v.valid_to > r.instant
  ), (
    SELECT v.keys[1]
    FROM entity_version v
    WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.asset_id = a.id AND v.valid_from <= r.instant AND v.valid_to > r.instant
  )) END AS own_name
FROM requested r
CROSS JOIN LATERAL (
  SELECT a.id, a.uid, a.kind, a.type, true AS named, true AS meant, false AS is_later
  FROM asset a
  WHERE a.tenant_id = CAST(:tenant AS bigint) AND a.uid = r.uid
  UNION ALL
{include _asset_by_name}
  WHERE r.uid IS NULL
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

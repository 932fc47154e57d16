-- What references mean at instants (without one: now, as the request knows it): the asset that has the uid, the product that bears the
-- name then, the entity that has the key; whether it is alive then, and whether it has ever been. What means nothing has no row.
WITH asked AS MATERIALIZED (
  SELECT e.uid, e.product, e.type, e.key, e.place,
    coalesce(e.instant, greatest(clock_timestamp(), CAST(:now AS timestamptz))) AS instant
  FROM unnest(
    CAST(:uids AS uuid[]), CAST(:products AS text[]), CAST(:types AS text[]), CAST(:keys AS text[]), CAST(:instants AS timestamptz[])
  ) WITH ORDINALITY AS e (uid, product, type, key, instant, place)
)
SELECT e.place, e.instant, a.id, a.uid, a.kind, a.type, coalesce(l.valid_to > e.instant, false) AS alive, l.valid_to IS NOT NULL AS begun
FROM asked e
CROSS JOIN LATERAL (
  SELECT a.id, a.uid, a.kind, a.type FROM asset a WHERE a.tenant_id = CAST(:tenant AS bigint) AND a.uid = e.uid
  UNION ALL
  SELECT a.id, a.uid, a.kind, a.type FROM asset a WHERE a.tenant_id = CAST(:tenant AS bigint) AND a.type = e.type AND a.key = e.key
  UNION ALL
  SELECT a.id, a.uid, a.kind, a.type
  FROM product_version v
  JOIN asset a ON a.tenant_id = CAST(:tenant AS bigint) AND a.id = v.asset_id
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.name = e.product AND v.valid_from <= e.instant AND v.valid_to > e.instant
  OFFSET 0
) a
-- the life it has then, or had last
LEFT JOIN LATERAL (
  SELECT l.valid_to
  FROM asset_lifetime l
  WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.asset_id = a.id AND l.valid_from <= e.instant
  ORDER BY l.valid_from DESC
  LIMIT 1
) l ON true

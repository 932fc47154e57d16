-- Find the products that take names first after instants, and whether they existed until then.
-- Parameters: :products and :instants, one for each.
-- Used by: db.associations.stub._uids_of_products
SELECT r.ordinal, a.uid, EXISTS (
    SELECT
    FROM asset_lifetime l
    WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.asset_id = a.id AND l.valid_from <= r.instant
  ) AS ever_alive
FROM unnest(CAST(:products AS text[]), CAST(:instants AS timestamptz[])) WITH ORDINALITY AS r (product, instant, ordinal)
CROSS JOIN LATERAL (
  SELECT v.asset_id
  FROM product_version v
  WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.name = r.product AND v.valid_from > r.instant
  ORDER BY v.valid_from
  LIMIT 1
) v
JOIN asset a ON a.tenant_id = CAST(:tenant AS bigint) AND a.id = v.asset_id

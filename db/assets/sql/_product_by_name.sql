-- The product that has a name at an instant; with :or_deleted, else the one that was deleted with it.
-- Parameters: :or_deleted. Expects: r.product, r.instant. Provides: id.
-- Used by: assets/lock_by_reference.sql, assets/deleted_products.sql
    SELECT v.asset_id AS id
    FROM (
      -- names are unique at every instant, so that the last version with the name is the one that may be valid
      SELECT v.asset_id, v.valid_from, v.valid_to
      FROM product_version v
      WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.name = r.product AND v.valid_from <= r.instant
      ORDER BY v.valid_from DESC
      LIMIT 1
    ) v
    WHERE v.valid_to > r.instant OR (CAST(:or_deleted AS boolean) AND NOT EXISTS (
      -- it has another name since
      SELECT
      FROM product_version later
      WHERE later.tenant_id = CAST(:tenant AS bigint) AND later.asset_id = v.asset_id
        AND later.valid_from > v.valid_from AND later.valid_from <= r.instant
    ))

-- The asset that a product name, or a type and key, means at an instant: the one that has it then; or the one that was deleted
-- with it and does not exist then; or the one that begins with it later. If there is none, the asset that has it later, else the
-- one that had it last, is returned as one that is not meant.
-- Expects: r.product, r.type, r.key, r.instant. Provides: the columns of the identity; named, true if the asset has the name or
--   key at the instant; meant; is_later, true if it is the one that has it later.
-- Used by: assets/resolve_references.sql, assets/lock_by_reference.sql
  SELECT a.id, a.uid, a.kind, a.type, found.named, found.meant, found.is_later
  FROM (
    SELECT coalesce(following.asset_id, held.asset_id) AS asset_id, held.named IS TRUE AS named,
      (held.meant OR following.meant) IS TRUE AS meant, following.asset_id IS NOT NULL AS is_later
    FROM (VALUES (true)) AS one
    -- no two assets have it at the same time, so that the last to get it until the instant is the one that may have it
    LEFT JOIN LATERAL (
      SELECT p.asset_id, p.valid_to > r.instant AS named, p.valid_to > r.instant OR p.valid_to = (
        SELECT l.valid_to
        FROM asset_lifetime l
        WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.asset_id = p.asset_id AND l.valid_from <= r.instant
        ORDER BY l.valid_from DESC
        LIMIT 1
      ) AS meant
      FROM (
        (
          SELECT v.asset_id, v.valid_to
          FROM product_version v
          WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.name = r.product AND v.valid_from <= r.instant
          ORDER BY v.valid_from DESC
          LIMIT 1
        )
        UNION ALL
        (
          SELECT k.asset_id, k.valid_to
          FROM entity_key k
          WHERE k.tenant_id = CAST(:tenant AS bigint) AND k.type = r.type AND k.compared = compared_key(r.key)
            AND k.valid_from <= r.instant
          ORDER BY k.valid_from DESC
          LIMIT 1
        )
      ) p
    ) held ON true
    -- the first to get it afterwards, if it did not exist before
    LEFT JOIN LATERAL (
      SELECT p.asset_id, NOT EXISTS (
        SELECT
        FROM asset_lifetime l
        WHERE l.tenant_id = CAST(:tenant AS bigint) AND l.asset_id = p.asset_id AND l.valid_from < p.valid_from
      ) AS meant
      FROM (
        (
          SELECT v.asset_id, v.valid_from
          FROM product_version v
          WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.name = r.product AND v.valid_from > r.instant
          ORDER BY v.valid_from
          LIMIT 1
        )
        UNION ALL
        (
          SELECT k.asset_id, k.valid_from
          FROM entity_key k
          WHERE k.tenant_id = CAST(:tenant AS bigint) AND k.type = r.type AND k.compared = compared_key(r.key)
            AND k.valid_from > r.instant
          ORDER BY k.valid_from
          LIMIT 1
        )
      ) p
      WHERE held.meant IS NOT TRUE
    ) following ON true
    LIMIT 1
  ) found
  JOIN asset a ON a.tenant_id = CAST(:tenant AS bigint) AND a.id = found.asset_id

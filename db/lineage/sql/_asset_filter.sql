-- Array of the assets of `walk.level` that a filter shows, in order of their ids. The walk passes through the others.
  -- Expects: walk (level, instant), and the parameters :kinds, :entity_types and :domains; NULL is no condition
  ARRAY(
    SELECT a.id
    FROM asset a
    WHERE a.tenant_id = CAST(:tenant AS bigint) AND a.id = ANY (walk.level)
      AND (CAST(:kinds AS text[]) IS NULL OR a.kind = ANY (CAST(:kinds AS text[])))
      AND (CAST(:entity_types AS text[]) IS NULL OR a.type = ANY (CAST(:entity_types AS text[])))
      AND (
        -- products in one of the domains, and entities whose type belongs to one
        CAST(:domains AS text[]) IS NULL OR EXISTS (
          SELECT
          FROM product_version v
          WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.asset_id = a.id
            AND v.valid_from <= walk.instant AND v.valid_to > walk.instant
            AND v.domain = ANY (CAST(:domains AS text[]))
        ) OR EXISTS (
          SELECT
          FROM entity_type t
          WHERE t.tenant_id = CAST(:tenant AS bigint) AND t.code = a.type AND t.domain = ANY (CAST(:domains AS text[]))
        )
      )
    ORDER BY a.id
  )

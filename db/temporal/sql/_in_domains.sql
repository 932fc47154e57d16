-- Condition that an asset `subject` (asset_id) is a product in one of some domains at an instant that is compared, or an entity
-- whose type belongs to one.
-- Expects :domains. Token: {valid}, the condition that a row `v` is valid at such an instant.
    (
      EXISTS (
        SELECT
        FROM product_version v
        WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.asset_id = subject.asset_id AND ({valid})
          AND v.domain = ANY (CAST(:domains AS text[]))
      ) OR EXISTS (
        SELECT
        FROM asset a
        JOIN entity_type t ON t.tenant_id = CAST(:tenant AS bigint) AND t.code = a.type
        WHERE a.tenant_id = CAST(:tenant AS bigint) AND a.id = subject.asset_id AND t.domain = ANY (CAST(:domains AS text[]))
      )
    )

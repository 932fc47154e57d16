coalesce(
    (
      SELECT p.name
      FROM product_version p
      WHERE p.tenant_id = CAST(:tenant AS bigint) AND p.asset_id = o.id AND p.valid_from <= h.since AND p.valid_to > h.since
    ),
    (
      SELECT v.display_name
      FROM entity_version v
      WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.asset_id = o.id AND v.valid_from <= h.since AND v.valid_to > h.since
    ),
    CAST(o.uid AS text)
  )

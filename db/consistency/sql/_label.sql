-- The label of an asset at an instant: the name of the product or the display name of the entity, else the uid.
-- Expects: labelled, a row of asset, and hit.since, the instant. Provides: an expression.
coalesce(
    (
      SELECT p.name
      FROM product_version p
      WHERE p.tenant_id = CAST(:tenant AS bigint) AND p.asset_id = labelled.id AND p.valid_from <= hit.since AND p.valid_to > hit.since
    ),
    (
      SELECT v.display_name
      FROM entity_version v
      WHERE v.tenant_id = CAST(:tenant AS bigint) AND v.asset_id = labelled.id AND v.valid_from <= hit.since AND v.valid_to > hit.since
    ),
    CAST(labelled.uid AS text)
  )

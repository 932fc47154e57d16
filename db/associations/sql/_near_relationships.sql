-- The relationships of an asset that are effective at an instant, each with its other end.
-- Expects: requested.asset_id, requested.instant. Provides: other_id.
-- Parameters: :forward ids of the types to follow from their origin, :reverse from their related end.
  SELECT r.related_id AS other_id
  FROM relationship_effective r
  WHERE r.tenant_id = CAST(:tenant AS bigint) AND r.origin_id = requested.asset_id AND r.type_id = ANY (CAST(:forward AS bigint[]))
    AND r.valid_from <= requested.instant AND r.valid_to > requested.instant
  UNION ALL
  SELECT r.origin_id
  FROM relationship_effective r
  WHERE r.tenant_id = CAST(:tenant AS bigint) AND r.related_id = requested.asset_id AND r.type_id = ANY (CAST(:reverse AS bigint[]))
    AND r.valid_from <= requested.instant AND r.valid_to > requested.instant
